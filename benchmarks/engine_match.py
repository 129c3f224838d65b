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
from support.engine import report_rows, run_spec

from leonids.train.evaluate import audit, generate, held_out, teacher_forced
from leonids.train.native import Training, deterministic

USUAL = 8
"""What transformers evaluates at a time unless told otherwise."""

SIZES = {"nano": (500, (USUAL, 32)), "smollm2-135m": (50, (USUAL,))}
"""For each base: how many examples, and how many prompts are generated at a time."""


def compare(base: str, *, scratch: Path, opened: ExitStack, repeats: int) -> tuple[dict[str, list[float]], list[int]]:
    """Return the ratios of time by batch of generation, and disagreements a comparison."""
    examples, batches = SIZES[base]
    runs = [run_spec("r", base=base, rank=128, steps=10, dtype="float32")]
    training = Training(runs, out=scratch / base, resume=False, opened=opened)
    (chunk,) = training.stack.chunks
    held = held_out(training.streams, ["answer"], split="test", first=0, n=examples)
    tokens = [len(row.tokens.ids) - row.tokens.prompt_tokens for row in held.rows[0]]
    ratios: dict[str, list[float]] = {}
    disagreements: list[int] = []
    for _ in range(repeats):
        begun = time.perf_counter()
        (found,) = teacher_forced(training.engine, chunk, held)
        forced = time.perf_counter() - begun
        for size in batches:
            begun = time.perf_counter()
            answers = [
                answer
                for first in range(0, examples, size)
                for answer in generate(training.engine, chunk, [held.rows[0][first : first + size]])[0]
            ]
            name = f"{base}, {examples} answers of {statistics.fmean(tokens):.1f} tokens, generate() of {size} prompts"
            ratios.setdefault(name, []).append((time.perf_counter() - begun) / forced)
            disagreements.append(audit(training.engine, training.streams[0], found, answers)["disagreements"])
    return ratios, disagreements


def main() -> None:
    """Measure both in turns and report the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows: dict[str, list[float]] = {}
    counted: dict[str, list[int]] = {}
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as opened, deterministic():
        for base in SIZES:
            ratios, counted[base] = compare(base, scratch=Path(scratch), opened=opened, repeats=given.repeats)
            rows |= ratios
    report_rows(
        __file__,
        rows,
        unit="seconds of generate() / seconds of one teacher-forced pass, one thread, float32; at least 5, aim 20",
        disagreements=counted,
    )


if __name__ == "__main__":
    main()
