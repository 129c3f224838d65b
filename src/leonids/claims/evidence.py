"""How the judge sees data: a protocol, so that live runs, imported runs and simulations are judged alike."""

import math
from dataclasses import dataclass
from typing import Protocol, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from leonids.records import Grade

Floats: TypeAlias = NDArray[np.float64]


def step_at(progress: float, *, planned_steps: int) -> int:
    """Return the first step at which ``progress`` (0..1) of a run of ``planned_steps`` is reached.

    >>> step_at(0.30, planned_steps=37_487), step_at(0.15, planned_steps=240), step_at(0.0, planned_steps=240)
    (11247, 36, 0)
    """
    # 0.07 * 100 is 7.000000000000001: the slack keeps a whole number of steps whole.
    return min(planned_steps, max(0, math.ceil(progress * planned_steps - 1e-9)))


@final
@dataclass(frozen=True, slots=True)
class Window:
    """Steps ``first_step`` to ``last_step``, both included."""

    first_step: int
    last_step: int


@final
@dataclass(frozen=True, slots=True)
class RunFacts:
    """What is known of a run when a prediction is judged.

    ``planned`` is false for a run outside the registered plan: it is shown, never counted. ``broken`` means a
    hash mismatch. ``changed`` says which metric has another definition than at the lock. ``seen_steps`` is the
    watermark: steps that existed when the prediction was locked.
    """

    run: str
    arm: str
    seed: int
    planned_steps: int
    done_steps: int
    grade: Grade
    broken: bool = False
    planned: bool = True
    seen_steps: int = 0
    changed: str = ""


@final
@dataclass(frozen=True, slots=True)
class Units:
    """Totals and counts of independent units, ``[n]`` each: the rows of one run in one window.

    On held-out splits a row is an example at a review; on the training stream it is a step, whose batch is
    fresh. ``steps`` and ``keys`` (the example's index; 0 for a training step) say which rows of two runs belong
    together.
    """

    totals: Floats
    counts: Floats
    steps: NDArray[np.int64]
    keys: NDArray[np.int64]
    unit: str

    @property
    def value(self) -> float:
        """The pooled value ``sum(totals) / sum(counts)``; NaN without counts."""
        count = float(self.counts.sum())
        return float(self.totals.sum()) / count if count > 0 else math.nan


class Evidence(Protocol):
    """Everything the judge may ask. Answers are the same whenever they are asked of the same files."""

    def runs(self, arm: str, *, prediction: str) -> tuple[RunFacts, ...]:
        """Return the runs of ``arm`` in the order of the plan, planned ones that have not begun among them."""
        ...

    def units(self, run: str, *, metric: str, tokens: str, split: str, window: Window) -> Units | None:
        """Return the rows of a metric over a token set inside ``window``, or None where none were measured.

        ``tokens`` is a name in ``records.TOKEN_SETS``, or ``example`` for metrics of the whole answer.
        ``excess`` is loss minus floor minus head floor of the same tokens.
        """
        ...

    def last_step(self, run: str, *, split: str, by: int) -> int | None:
        """Return the last step up to ``by`` at which ``split`` was measured (its review), or None."""
        ...
