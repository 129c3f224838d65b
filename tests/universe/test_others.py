"""The pretraining stream is a promise: the shipped base was made from these very universes."""

import hashlib
import json
from pathlib import Path

from leonids.universe.others import other_universe
from leonids.universe.universe import Universe

GOLDEN = Path(__file__).parents[1] / "golden" / "others.json"
EPISODES, EXAMPLES = 200, 3


def digest_of_episodes() -> str:
    """The hash of the first universes of stream 0 and of what a pretraining episode shows of each."""
    total = hashlib.sha256()
    for index in range(EPISODES):
        universe = Universe(other_universe(0, index))
        total.update(f"{universe.digest}{universe.stream}\n".encode())
        for i in range(EXAMPLES):
            example = universe.example("train", 0, i)
            total.update(f"{example.prompt}\0{example.completion}\n".encode())
    return total.hexdigest()


def test_the_universes_of_the_pretraining_stream_never_change() -> None:
    assert digest_of_episodes() == json.loads(GOLDEN.read_text())[f"others/1/0/{EPISODES}"]
