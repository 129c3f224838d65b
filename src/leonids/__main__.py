"""``python -m leonids`` is ``leonids``."""

from leonids.cli import main

main()
