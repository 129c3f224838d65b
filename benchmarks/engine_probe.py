"""What the probe adds to a training step: the share of the step that goes into it.

Timed inside the step itself (two clocks around each of its parts), because two loops with and without it differ
by more than 1 % between repeats on any machine that does something else.

    python benchmarks/engine_probe.py [--base nano] [--steps 10] [--repeats 5]
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from support.engine import passes, report

from leonids.train import native
from leonids.train.native import Training


class Clock:
    """Seconds spent inside wrapped functions."""

    def __init__(self) -> None:
        self.spent = 0.0

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``function`` with its time counted."""

        def timed(*arguments: Any, **more: Any) -> Any:
            begun = time.perf_counter()
            found = function(*arguments, **more)
            self.spent += time.perf_counter() - begun
            return found

        return timed


def best_of_logits(training: Training) -> float:
    """Return the seconds of the one pass over the logits that the loss alone would not need, in one step."""
    tokens = sum(len(row.tokens.ids) - row.tokens.prompt_tokens for row in training._rows(training.streams[0], step=1))
    logits = torch.randn(tokens, training.engine.base.vocab)
    begun = time.perf_counter()
    for _ in range(20):
        logits.max(dim=1)
    return (time.perf_counter() - begun) / 20


def main() -> None:
    """Measure the probe's share of steps and report it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default="nano")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    clock = Clock()
    native.observe, native.totals_of = clock.around(native.observe), clock.around(native.totals_of)
    with passes() as make:
        training = make("r", base=given.base, rank=128)
        shares = []
        for _ in range(given.repeats):
            clock.spent, begun = 0.0, time.perf_counter()
            for _ in range(given.steps):
                training._step()
            step = (time.perf_counter() - begun) / given.steps
            probe = clock.spent / given.steps + best_of_logits(training)
            shares.append(probe / (step - probe))
    report(
        __file__,
        shares,
        promise=f"the probe's part of a step on {given.base}, rank 128, batch 16 (at most)",
        at_least=0.02,
        aim=0.01,
    )


if __name__ == "__main__":
    main()
