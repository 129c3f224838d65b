"""Match by one teacher-forced pass, against generating the same answers.

python benchmarks/engine_match.py [--base nano] [--examples 200] [--repeats 5]
"""

import argparse
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import torch
from support.engine import report, run_spec

from leonids.train.evaluate import audit, generate, held_out, teacher_forced
from leonids.train.native import Training, deterministic

USUAL = 8
"""What transformers evaluates at a time unless told otherwise."""

BATCHES = (USUAL, 32)


def main() -> None:
    """Measure both in turns on nano's test examples and report the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default="nano")
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as opened, deterministic():
        runs = [run_spec("r", base=given.base, rank=128, steps=10)]
        training = Training(runs, out=Path(scratch), resume=False, opened=opened)
        (chunk,) = training.stack.chunks
        held = held_out(training.streams, ["answer"], split="test", first=0, n=given.examples)
        ratios: dict[int, list[float]] = {size: [] for size in BATCHES}
        disagreements = 0
        for _ in range(given.repeats):
            begun = time.perf_counter()
            (found,) = teacher_forced(training.engine, chunk, held)
            forced = time.perf_counter() - begun
            for size in BATCHES:
                begun = time.perf_counter()
                answers = [
                    answer
                    for first in range(0, given.examples, size)
                    for answer in generate(training.engine, chunk, [held.rows[0][first : first + size]])[0]
                ]
                ratios[size].append((time.perf_counter() - begun) / forced)
                disagreements += audit(training.engine, training.streams[0], found, answers)["disagreements"]
    report(
        __file__,
        ratios[USUAL],
        promise=f"teacher-forced match on {given.base}, against generate() of {USUAL} prompts at a time, one thread",
        at_least=5.0,
        aim=20.0,
        examples=given.examples,
        by_batch={str(size): round(statistics.median(own), 2) for size, own in ratios.items()},
        disagreements=disagreements,
    )


if __name__ == "__main__":
    main()
