"""Whether confidence is honest: how often what is said with a probability is right, on independent answers."""

from dataclasses import dataclass
from typing import final

import numpy as np

from leonids.report.numbers import LEVEL, Floats, Known, Missing, Value, share, value_of
from leonids.stats.calibration import Calibration, discrimination, smooth_error
from leonids.study.streams import FIRST_CONFIDENCE, FIRST_RIGHT, Table

BINS = 10
ROLE = "decided"


@final
@dataclass(frozen=True, slots=True)
class Bin:
    """Answers of like confidence: its mean, and the share of them that is right with its exact interval."""

    confidence: float
    right: Value


@final
@dataclass(frozen=True, slots=True)
class Reliability:
    """Honesty of confidence over ``n`` answers: smooth calibration error beside its value by chance alone.

    ``told_apart`` is the chance that a right token is more confident than a wrong one. The unit is the answer, by one
    token of it, since tokens of one answer hang together; ``of`` says which: its first decided token, or, in streams
    that do not hold answers token by token, its only one.
    """

    n: int
    of: str
    error: Calibration
    told_apart: Known
    bins: tuple[Bin, ...]


def reliability(rows: Table) -> Reliability | Missing:
    """Return how honest the confidence of held-out ``rows`` is."""
    units = _units(rows)
    if isinstance(units, Missing):
        return units
    of, confidence, right = units
    n = int(confidence.size)
    places = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    bins = []
    for place in np.unique(places):
        inside = places == place
        found = share(round(float(right[inside].sum())), int(inside.sum()), unit="answers")
        assert isinstance(found, Value)
        bins.append(Bin(float(confidence[inside].mean()), found))
    told = value_of(discrimination(confidence, right, level=LEVEL), unit="answers")
    return Reliability(n, of, smooth_error(confidence, right), told, tuple(bins))


def _units(rows: Table) -> tuple[str, Floats, Floats] | Missing:
    """Which token speaks for an answer, its confidence, and whether it is right; the arrays are [n]."""
    if (FIRST_CONFIDENCE, ROLE) in rows.counts:
        of, names = f"the first {ROLE} token", (FIRST_CONFIDENCE, FIRST_RIGHT)
    else:
        of, names = f"the only {ROLE} token", ("confidence", "token_accuracy")
    if any((name, ROLE) not in rows.counts for name in names):
        return Missing(f"no confidence of {ROLE} tokens was measured")
    kept = np.all([rows.counts[name, ROLE] == 1 for name in names], axis=0)
    confidence, right = (rows.totals[name, ROLE] for name in names)
    kept &= np.isfinite(confidence)
    if not kept.any():
        return Missing(f"no answer has exactly one {ROLE} token")
    return of, np.clip(confidence[kept], 0.0, 1.0), right[kept]
