"""``python -m leonids.cli`` is ``leonids``."""

from leonids.cli import main

main()
