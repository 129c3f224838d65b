"""Curves for figures: values over progress, exactly as recorded. Nothing is smoothed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from leonids.claims.evidence import Window
from leonids.claims.measure import Measure
from leonids.claims.prediction import Prediction
from leonids.report.explain import Explanation
from leonids.report.findings import Checkpoint
from leonids.report.numbers import Known, Value
from leonids.spec import RunSpec
from leonids.study.folder import StudyFolder

Floats = NDArray[np.float64]

MOST_POINTS = 1200
"""Above this many points a curve is drawn as the least and greatest value of equal stretches: no peak is lost."""


CUT_ABOVE = 1.5
"""A first top that is this many times as high as all else is cut: it would leave the others no room."""

ON_THE_AXIS = ("between", "above", "below", "differs", "coincide", "ratio")
"""Predicates whose region is in the unit of the curve. The others claim a slope or an order: no box is drawn."""


@final
@dataclass(frozen=True, slots=True)
class Curve:
    """Values ``y`` [n] over progress ``x`` [n] in percent, with interval ends where there are any."""

    x: Floats
    y: Floats
    low: Floats | None = None
    high: Floats | None = None


def at_reviews(found: Sequence[tuple[float, Known]]) -> Curve:
    """Return the known ones of (progress, value) pairs as a curve with intervals."""
    known = [(100 * at, value) for at, value in found if isinstance(value, Value)]
    ends = [
        (value.estimate if value.low is None else value.low, value.estimate if value.high is None else value.high)
        for _, value in known
    ]
    return Curve(
        np.array([at for at, _ in known], dtype=np.float64),
        np.array([value.estimate for _, value in known], dtype=np.float64),
        np.array([low for low, _ in ends], dtype=np.float64),
        np.array([high for _, high in ends], dtype=np.float64),
    )


def explanations_of(checkpoints: Sequence[Checkpoint], run: str) -> list[tuple[float, Explanation]]:
    """Return a run's explanations with their progress, first review first."""
    return [(at.progress, found) for at in checkpoints for found in at.explanations if found.run == run]


def series(folder: StudyFolder, run: RunSpec, measure: Measure, *, split: str) -> Curve | None:
    """Return a measure's value at every recorded step (or review) of a run, or None where there are none."""
    units = folder.units(
        run.run, metric=measure.metric, tokens=measure.tokens, split=split, window=Window(0, run.steps)
    )
    if units is None or not units.steps.size:
        return None
    steps, place = np.unique(units.steps, return_inverse=True)
    totals, counts = (np.bincount(place, weights=column) for column in (units.totals, units.counts))
    return Curve(100.0 * steps / run.steps, totals / counts)


def combined(prediction: Prediction, one: Curve, other: Curve) -> Curve:
    """Return the two arms' difference (or ratio, where that is claimed) at the points that both have."""
    x, first, second = np.intersect1d(one.x, other.x, return_indices=True)
    a, b = one.y[first], other.y[second]
    if prediction.expect.ratio is None:
        return Curve(x, a - b)
    positive = b > 0
    return Curve(x[positive], a[positive] / b[positive])


def thinned(curve: Curve) -> tuple[Curve, bool]:
    """Return a curve of at most ``MOST_POINTS`` points, and whether points were left out."""
    n = curve.x.size
    if n <= MOST_POINTS:
        return curve, False
    kept: list[int] = []
    for stretch in np.array_split(np.arange(n), MOST_POINTS // 2):
        least, greatest = stretch[np.argmin(curve.y[stretch])], stretch[np.argmax(curve.y[stretch])]
        kept += sorted({int(least), int(greatest)})
    return Curve(curve.x[kept], curve.y[kept]), True


def frame_top(tops: Sequence[float], others: Sequence[float] = ()) -> float:
    """Return how high a frame must reach: to every top, but not to a first one far above all later ones.

    ``others`` are heights that have to be seen as well, such as plateaus.
    """
    later = max((*tops[1:], *others), default=0.0)
    return later if later > 0 and tops and tops[0] > CUT_ABOVE * later else max((later, *tops), default=0.0)


def runs_claimed(folder: StudyFolder, prediction: Prediction) -> list[RunSpec]:
    """Return the runs that a prediction speaks of: all seeds of its arms, one for a claim about one run."""
    arms = prediction.expect.order or (prediction.measure.arm,)
    runs = [run for arm in arms for run in folder.runs_of(arm)]
    seed = prediction.measure.seed
    chosen = [run for run in runs if seed is None or run.data_seed == seed]
    return chosen[:1] if prediction.scope == "run" and prediction.expect.order is None else chosen


def splits_claimed(prediction: Prediction) -> tuple[str, ...]:
    """Return the splits to draw: the test split is measured once, so validation is its background."""
    split = prediction.measure.split
    return ("validation", "test") if split == "test" else (split,)


def claimed_curve(folder: StudyFolder, prediction: Prediction, run: RunSpec, *, split: str) -> Curve | None:
    """Return what a prediction measures on a run (minus, or over, the paired run), or None where nothing was."""
    measure = prediction.measure
    curve = series(folder, run, measure, split=split)
    if curve is None or measure.versus is None:
        return curve
    others = [other for other in folder.runs_of(measure.versus) if other.data_seed == run.data_seed]
    other = series(folder, others[0], measure, split=split) if others else None
    return combined(prediction, curve, other) if other is not None else None
