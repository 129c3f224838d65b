"""Write the golden digests: run it only for a new universe, or one with a new version."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "universe"))

from test_others import EPISODES, digest_of_episodes
from test_universe import UNIVERSES, digest_of_examples

from leonids.universe.splits import SPLITS

found = {
    f"{name}/{universe.spec.version}/{split}": digest_of_examples(universe, split)
    for name, universe in UNIVERSES.items()
    for split in SPLITS
}
(Path(__file__).parent / "universes.json").write_text(json.dumps(found, indent=1) + "\n")
others = {f"others/1/0/{EPISODES}": digest_of_episodes()}
(Path(__file__).parent / "others.json").write_text(json.dumps(others, indent=1) + "\n")
