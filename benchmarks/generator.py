"""How many examples a second LEO writes on one core, alone and with the exact floor of every token.

Promised: 10,000 a second with floors on an example of about 50 tokens, 1,000 on one of about 1,000. CPU time of the
best of several repeats, so that a busy machine does not count against the program. Where reasoning-gym is installed
(pip install reasoning-gym), three of its tasks on lists, with their default settings, are timed in the same way.

    python benchmarks/generator.py [--tokenizer nano] [--repeats 40] [--out FILE.json]
"""

import argparse
import json
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from leonids.floor.tokens import TokenFloor, Tokenizer
from leonids.spec import load_universe
from leonids.study.floors import tokenizer_of
from leonids.universe.blueprint import UniverseSpec
from leonids.universe.universe import Universe

LONG_ITEMS = 143

PEERS = ("number_filtering", "word_sorting", "list_functions")
"""Tasks of reasoning-gym that are most like LEO's. They have no floors."""


def rate(work: Callable[[int], object], *, n: int, repeats: int) -> float:
    """Return how often ``work`` is done in a second of CPU time, the best of ``repeats`` of ``n`` each.

    Others on the machine slow a core down for seconds at a time, so repeats are short and many.
    """
    best = 0.0
    for repeat in range(repeats):
        began = time.process_time()
        for index in range(repeat * n, (repeat + 1) * n):
            work(index)
        best = max(best, n / (time.process_time() - began))
    return best


def specs() -> dict[str, tuple[UniverseSpec, int]]:
    """Return what is timed, and how many examples a repeat writes."""
    names = ("consistent", "noise", "disorder", "wide")
    shipped = {name: (load_universe(name), 500) for name in names}
    spec = load_universe("consistent")
    catalog = replace(spec.catalog, shipped_names=(0, 200))
    long = replace(spec, universe="long", catalog=catalog, items={LONG_ITEMS: 1.0})
    return {**shipped, f"{LONG_ITEMS} items": (long, 25)}


def ours(tokenizer: Tokenizer, repeats: int) -> Iterator[dict[str, str | float]]:
    """Time LEO, alone and with floors."""
    for name, (spec, n) in specs().items():
        universe = Universe(spec)
        floor = TokenFloor(universe, tokenizer, checked_examples=20)
        tokens = sum(len(floor.encode(universe.example("test", 0, i)).ids) for i in range(50)) / 50
        alone = rate(lambda i: universe.example("train", 1, i), n=n, repeats=repeats)  # noqa: B023
        both = rate(lambda i: floor.encode(universe.example("train", 2, i)), n=n, repeats=repeats)  # noqa: B023
        yield {"universe": name, "tokens": tokens, "examples_per_s": round(alone), "with_floors_per_s": round(both)}


def peers(tokenizer: Tokenizer, repeats: int) -> Iterator[dict[str, str | float]]:
    """Time reasoning-gym's tasks, if it is there."""
    if find_spec("reasoning_gym") is None:
        return
    gym = import_module("reasoning_gym")
    for name in PEERS:
        tasks = gym.create_dataset(name, size=500 * repeats, seed=0)
        texts = [tasks[i]["question"] + tasks[i]["answer"] for i in range(50)]
        tokens = sum(len(tokenizer.encode(text)[0]) for text in texts) / 50
        alone = rate(lambda i: tasks[i], n=500, repeats=repeats)  # noqa: B023
        yield {"reasoning-gym": name, "tokens": tokens, "examples_per_s": round(alone)}


def main() -> None:
    """Print the rates, and write them to a file if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", default="nano")
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    tokenizer = tokenizer_of(options.tokenizer)
    found = []
    print(f"{'':18s} {'tokens':>7s} {'examples/s':>11s} {'with floors':>12s}")
    for time_them in (ours, peers):
        for row in time_them(tokenizer, options.repeats):
            name = row.get("universe") or row["reasoning-gym"]
            floors = f"{row['with_floors_per_s']:,d}" if "with_floors_per_s" in row else "none"
            print(f"{name:18s} {row['tokens']:7.1f} {row['examples_per_s']:11,d} {floors:>12s}")
            found.append(row)
    if options.out is not None:
        machine = f"{platform.machine()}, Python {platform.python_version()}, one core"
        options.out.write_text(
            json.dumps({"machine": machine, "tokenizer": options.tokenizer, "rates": found}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
