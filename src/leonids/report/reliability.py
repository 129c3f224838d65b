"""Whether confidence is honest: how often what is said with a probability is right, on independent answers."""

from dataclasses import dataclass
from typing import final

import numpy as np

from leonids.report.numbers import LEVEL, Known, Missing, Value, share, value_of
from leonids.stats.calibration import Calibration, discrimination, smooth_error
from leonids.study.streams import Table

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

    ``told_apart`` is the chance that a right answer is more confident than a wrong one. The unit is the answer
    with one decided token: the probability of that token is the confidence in what the answer says, and no other
    token of the answer depends on it.
    """

    n: int
    error: Calibration
    told_apart: Known
    bins: tuple[Bin, ...]


def reliability(rows: Table) -> Reliability | Missing:
    """Return how honest the confidence of held-out ``rows`` is."""
    if ("confidence", ROLE) not in rows.counts or ("token_accuracy", ROLE) not in rows.counts:
        return Missing(f"no confidence of {ROLE} tokens was measured")
    alone = (rows.counts["confidence", ROLE] == 1) & (rows.counts["token_accuracy", ROLE] == 1)
    alone &= np.isfinite(rows.totals["confidence", ROLE])
    confidence = np.clip(rows.totals["confidence", ROLE][alone], 0.0, 1.0)
    right = rows.totals["token_accuracy", ROLE][alone]
    n = int(confidence.size)
    if not n:
        return Missing(f"no answer has exactly one {ROLE} token")
    places = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    bins = []
    for place in np.unique(places):
        inside = places == place
        found = share(round(float(right[inside].sum())), int(inside.sum()), unit="answers")
        assert isinstance(found, Value)
        bins.append(Bin(float(confidence[inside].mean()), found))
    told = value_of(discrimination(confidence, right, level=LEVEL), unit="answers")
    return Reliability(n, smooth_error(confidence, right), told, tuple(bins))
