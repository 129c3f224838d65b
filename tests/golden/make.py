"""Write golden/universes.json: run it only for a universe with a new version."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "universe"))

from test_universe import UNIVERSES, digest_of_examples

from leonids.universe.splits import SPLITS

found = {
    f"{name}/{universe.spec.version}/{split}": digest_of_examples(universe, split)
    for name, universe in UNIVERSES.items()
    for split in SPLITS
}
(Path(__file__).parent / "universes.json").write_text(json.dumps(found, indent=1) + "\n")
