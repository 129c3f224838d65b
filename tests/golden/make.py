"""The golden digests: what the first examples of every split of every shipped universe hash to.

    python tests/golden/make.py --write       # after a new universe, or a new version of one

Without --write it prints the digests of the universes that come pickled on standard input. That needs nothing but the
standard library and rfc8785: any Python can be asked whether it writes the same bytes (tests/universe/test_golden.py).
"""

import argparse
import hashlib
import json
import pickle
import sys
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from leonids.universe.blueprint import UniverseSpec
from leonids.universe.splits import SPLITS
from leonids.universe.universe import Universe

HERE = Path(__file__).parent
FEW, ALL = 20, 1000
"""A digest is of this many first examples of a split's stream 0; the names of those of few end in ``/20``."""


def name_of(spec: UniverseSpec, split: str, examples: int) -> str:
    """The name of a digest in universes.json."""
    return f"{spec.universe}/{spec.version}/{split}" + ("" if examples == ALL else f"/{examples}")


def written(worker: int, *, specs: list[UniverseSpec], examples: int, workers: int) -> dict[str, list[bytes]]:
    """One worker's share of the examples: every ``workers``-th of each split."""
    found = {}
    for spec in specs:
        universe = Universe(spec)
        for split in (*SPLITS, *universe.transfer_splits()):
            share = (universe.example(split, 0, index) for index in range(worker, examples, workers))
            lines = [f"{example.prompt}\0{example.completion}\n".encode() for example in share]
            found[name_of(spec, split, examples)] = lines
    return found


def digests(specs: list[UniverseSpec], *, examples: int, workers: int = 1) -> Mapping[str, str]:
    """The digest of every split, its examples written by several fresh processes if asked for."""
    work = partial(written, specs=specs, examples=examples, workers=workers)
    if workers == 1:
        shares = [work(0)]
    else:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            shares = list(pool.map(work, range(workers)))
    return {
        name: hashlib.sha256(b"".join(shares[i % workers][name][i // workers] for i in range(examples))).hexdigest()
        for name in shares[0]
    }


def write() -> None:
    """Write the golden files."""
    sys.path.insert(0, str(HERE.parent / "universe"))
    from test_others import EPISODES, digest_of_episodes

    from leonids.spec import load_universe, shipped_universes

    specs = [load_universe(name) for name in shipped_universes()]
    found = {**digests(specs, examples=ALL), **digests(specs, examples=FEW)}
    (HERE / "universes.json").write_text(json.dumps(found, indent=1) + "\n")
    others = {f"others/1/0/{EPISODES}": digest_of_episodes()}
    (HERE / "others.json").write_text(json.dumps(others, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--examples", type=int, choices=(FEW, ALL), default=FEW)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    if options.write:
        write()
    else:
        specs = pickle.load(sys.stdin.buffer)
        print(json.dumps(digests(specs, examples=options.examples, workers=options.workers)))
