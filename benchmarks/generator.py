"""How many examples a second LEO writes on one core, alone and with the exact floor of every token.

Promised: 10,000 a second with floors on an example of about 50 tokens, 1,000 on one of about 1,000. CPU time of the
best of several repeats, so that a busy machine does not count against the program.

    python benchmarks/generator.py [--tokenizer nano] [--repeats 5] [--out FILE.json]
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from leonids.floor.tokens import TokenFloor
from leonids.spec import load_universe
from leonids.study.floors import tokenizer_of
from leonids.universe.blueprint import UniverseSpec
from leonids.universe.universe import Universe

LONG_ITEMS = 139


def rate(work: Callable[[int], object], *, n: int, repeats: int) -> float:
    """Return how often ``work`` is done in a second of CPU time, the best of ``repeats``."""
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
    shipped = {name: (load_universe(name), 2000) for name in names}
    spec = load_universe("consistent")
    catalog = replace(spec.catalog, shipped_names=(0, 200))
    long = replace(spec, universe="long", catalog=catalog, items={LONG_ITEMS: 1.0})
    return {**shipped, f"{LONG_ITEMS} items": (long, 100)}


def main() -> None:
    """Print the rates, and write them to a file if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", default="nano")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found = []
    print(f"{'universe':12s} {'tokens':>7s} {'examples/s':>11s} {'with floors':>12s} {'tokens/s':>10s}")
    for name, (spec, n) in specs().items():
        universe = Universe(spec)
        floor = TokenFloor(universe, tokenizer_of(options.tokenizer), checked_examples=20)
        tokens = sum(len(floor.encode(universe.example("test", 0, i)).ids) for i in range(50)) / 50
        alone = rate(lambda i: universe.example("train", 1, i), n=n, repeats=options.repeats)  # noqa: B023
        both = rate(lambda i: floor.encode(universe.example("train", 2, i)), n=n, repeats=options.repeats)  # noqa: B023
        print(f"{name:12s} {tokens:7.1f} {alone:11,.0f} {both:12,.0f} {both * tokens:10,.0f}")
        found.append(
            {"universe": name, "tokens": tokens, "examples_per_s": round(alone), "with_floors_per_s": round(both)}
        )
    if options.out is not None:
        machine = f"{platform.machine()}, Python {platform.python_version()}, one core"
        options.out.write_text(
            json.dumps({"machine": machine, "tokenizer": options.tokenizer, "rates": found}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
