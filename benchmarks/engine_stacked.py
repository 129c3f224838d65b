"""Four rank-32 adapters in one stack on a base of 5M parameters, against the same engine one adapter at a time.

python benchmarks/engine_stacked.py [--repeats 5]
"""

import argparse

import torch
from support.engine import five_million, passes, report, steps_of

ARMS = 4


def main() -> None:
    """Measure both in turns in one process and report the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with passes() as make:
        base = str(five_million(make.scratch / "base"))
        together = make("stack", base=base, rank=32, arms=ARMS)
        alone = make("alone", base=base, rank=32)
        ratios = []
        for _ in range(given.repeats):
            one = steps_of(alone, 2 * ARMS)
            ratios.append(one / steps_of(together, 2))
    chunks = [len(chunk.members) for chunk in together.stack.chunks]
    report(
        __file__,
        ratios,
        promise="5M parameters, 4 rank-32 adapters stacked, against one at a time, one thread",
        at_least=0.95,
        aim=1.1,
        chunks=chunks,
    )


if __name__ == "__main__":
    main()
