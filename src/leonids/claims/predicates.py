"""The predicates: what each claims (a region) and what it reads from the data (intervals).

Adding one is a field of ``Expect``, a row here, and a line in docs/verdicts.md. Supported means that every
reading lies inside the region, refuted that one of them lies outside on a side that refutes.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias, final

import numpy as np

from leonids.claims import regions
from leonids.claims.estimate import (
    Missing,
    Reading,
    mapped,
    ratio_reading,
    run_reading,
    seeds_reading,
    units_of,
    unseen,
    window_of,
)
from leonids.claims.evidence import Evidence, RunFacts, Units, Window, step_at
from leonids.claims.measure import Measure
from leonids.claims.prediction import Prediction
from leonids.claims.regions import Region
from leonids.stats.intervals import t_interval
from leonids.stats.slopes import Slope, estimate_interval, slope_of

Group: TypeAlias = tuple[RunFacts, ...]
"""The runs of one seed: one for each of ``Prediction.arms``, in that order."""

Read: TypeAlias = Callable[[Prediction, Sequence[Group], Evidence], tuple[Reading, ...] | Missing]


@final
@dataclass(frozen=True, slots=True)
class Predicate:
    """One row of the registry: the claimed region, how the data are read, and what it says in words."""

    name: str
    region: Callable[[Prediction], Region]
    read: Read
    says: str


def read_value(prediction: Prediction, groups: Sequence[Group], evidence: Evidence) -> tuple[Reading, ...] | Missing:
    """Read one number: the arm's value, or arm minus versus, in the measure's window."""
    found = _reading(prediction, groups, evidence, windows=window_of)
    return found if isinstance(found, Missing) else (found,)


def read_curve(prediction: Prediction, groups: Sequence[Group], evidence: Evidence) -> tuple[Reading, ...] | Missing:
    """Read the difference of two curves at ``points`` consecutive blocks of the window (one point for ``at``).

    On held-out splits the points are the reviews in the window. All points inside the margin is an
    intersection-union test: no correction for their number is needed (Berger 1982).
    """
    measure = prediction.measure
    if measure.over is None:
        return read_value(prediction, groups, evidence)
    readings: list[Reading] = []
    for block in _blocks(measure, groups[0][0], evidence):
        found = _reading(prediction, groups, evidence, windows=partial(block_window, block))
        if isinstance(found, Missing):
            return found
        readings.append(replace(found, at=f"{100 * block[1]:.3g}%"))
    return tuple(readings) or Missing(f"no review of {measure.split} lies in {measure.when}")


def read_order(prediction: Prediction, groups: Sequence[Group], evidence: Evidence) -> tuple[Reading, ...] | Missing:
    """Read each arm's value minus that of the arm listed before it."""
    arms = prediction.expect.order or ()
    where = {arm: i for i, arm in enumerate(prediction.arms)}
    readings: list[Reading] = []
    for lower, higher in itertools.pairwise(arms):
        pairs = [(group[where[higher]], group[where[lower]]) for group in groups]
        found = _reading(prediction, pairs, evidence, windows=window_of)
        if isinstance(found, Missing):
            return found
        readings.append(replace(found, at=f"{higher} - {lower}"))
    return tuple(readings)


def read_ratio(prediction: Prediction, groups: Sequence[Group], evidence: Evidence) -> tuple[Reading, ...] | Missing:
    """Read the ratio arm / versus, one value per seed."""
    rows = _rows(prediction.measure, groups, evidence, windows=window_of)
    if isinstance(rows, Missing):
        return rows
    found = ratio_reading(prediction.measure, [(units, other) for units, other in rows if other is not None])
    return found if isinstance(found, Missing) else (found,)


def read_change(prediction: Prediction, groups: Sequence[Group], evidence: Evidence) -> tuple[Reading, ...] | Missing:
    """Read how much the curve changes over the whole window, in the metric's unit (a fall is negative)."""
    start, end = prediction.measure.period
    return _falls(prediction, groups, evidence, parts=((start, end, -1.0),))


def read_bend(prediction: Prediction, groups: Sequence[Group], evidence: Evidence) -> tuple[Reading, ...] | Missing:
    """Read the fall after the point minus the fall in as long a time before it.

    Any convex curve (a power law above a floor, an exponential, a straight line) gives zero or less, so these
    are the null hypothesis as a whole; no curve is fitted and no change point is searched.
    """
    start, end = prediction.measure.period
    point = prediction.expect.falls_after.progress if prediction.expect.falls_after else start
    return _falls(prediction, groups, evidence, parts=((point, end, 1.0), (start, point, -1.0)))


def read_within(prediction: Prediction, groups: Sequence[Group], evidence: Evidence) -> tuple[Reading, ...] | Missing:
    """Read the curve at the band's points, in half widths of the band from its middle: -1 and 1 are its edges."""
    within = prediction.expect.within
    if within is None or not within.at:
        return Missing("its band was not computed: a forecast is frozen when its study is planned")
    measure = prediction.measure
    readings: list[Reading] = []
    for block, low, high in zip(blocks_of(measure, within.at), within.low, within.high, strict=True):
        if block[1] > measure.due + 1e-9:
            break
        found = _reading(prediction, groups, evidence, windows=partial(block_window, block))
        if isinstance(found, Missing):
            return found
        middle, half = (low + high) / 2, max((high - low) / 2, math.ulp(high))
        scaled = mapped(found.interval, partial(_standing, middle=middle, half=half))
        readings.append(replace(found, interval=scaled, sd=found.sd / half, at=f"{100 * block[1]:.3g}%"))
    return tuple(readings) or Missing("no point of its band lies in the window")


def _standing(value: float, *, middle: float, half: float) -> float:
    return (value - middle) / half


def blocks_of(measure: Measure, points: Sequence[float]) -> list[tuple[float, float]]:
    """Return the blocks that end at ``points``: on the training stream each begins where the last one ended."""
    if measure.split != "train" or measure.over is None:
        return [(point, point) for point in points]
    return list(itertools.pairwise((measure.over[0], *points)))


def block_window(block: tuple[float, float], measure: Measure, facts: RunFacts) -> Window:
    """Return the steps of a block: the review at its end, or the training steps inside it."""
    if block[0] == block[1]:
        return window_of(replace(measure, at=block[1], over=None), facts)
    start, end = (step_at(point, planned_steps=facts.planned_steps) for point in block)
    return Window(start + 1 if measure.split == "train" else end, end)


def _reading(
    prediction: Prediction,
    groups: Sequence[Group],
    evidence: Evidence,
    *,
    windows: Callable[[Measure, RunFacts], Window],
) -> Reading | Missing:
    rows = _rows(prediction.measure, groups, evidence, windows=windows)
    if isinstance(rows, Missing):
        return rows
    if prediction.scope == "run":
        return run_reading(prediction.measure, *rows[0])
    return seeds_reading(prediction.measure, rows)


def _rows(
    measure: Measure,
    groups: Sequence[Group],
    evidence: Evidence,
    *,
    windows: Callable[[Measure, RunFacts], Window],
) -> list[tuple[Units, Units | None]] | Missing:
    rows: list[tuple[Units, Units | None]] = []
    for group in groups:
        found: list[Units] = []
        for facts in group[:2]:
            units = units_of(measure, facts, evidence, window=unseen(windows(measure, facts), facts))
            if isinstance(units, Missing):
                return units
            found.append(units)
        rows.append((found[0], found[1] if len(found) > 1 else None))
    return rows


def _blocks(measure: Measure, facts: RunFacts, evidence: Evidence) -> list[tuple[float, float]]:
    start, end = measure.period
    if measure.split == "train":
        width = (end - start) / measure.points
        return [(start + i * width, start + (i + 1) * width) for i in range(measure.points)]
    reviews: list[tuple[float, float]] = []
    first, by = (step_at(point, planned_steps=facts.planned_steps) for point in (start, end))
    while (step := evidence.last_step(facts.run, split=measure.split, by=by)) is not None and step >= first:
        reviews.append((step / facts.planned_steps,) * 2)
        by = step - 1
    return reviews[::-1]


def _falls(
    prediction: Prediction,
    groups: Sequence[Group],
    evidence: Evidence,
    *,
    parts: tuple[tuple[float, float, float], ...],
) -> tuple[Reading, ...] | Missing:
    measure = prediction.measure
    # Both parts are scaled to the length of the first, so that unequal lengths compare like with like.
    length = parts[0][1] - parts[0][0]
    values: list[float] = []
    errors: list[tuple[float, int]] = []
    for group in groups:
        slopes = [_slope(measure, group[0], evidence, part=part) for part in parts]
        gone = [slope for slope in slopes if isinstance(slope, Missing)]
        if gone:
            return gone[0]
        steps = length * group[0].planned_steps
        found = [(slope, part[2]) for slope, part in zip(slopes, parts, strict=True) if isinstance(slope, Slope)]
        values.append(sum(-slope.per_step * steps * sign for slope, sign in found))
        error = sum((slope.error * steps) ** 2 for slope, _ in found) ** 0.5
        errors.append((error, min(slope.n for slope, _ in found)))
    if prediction.scope == "run":
        error, n = errors[0]
        interval = partial(estimate_interval, values[0], error=error, n=n, df=n - 2)
        unit = "steps" if measure.split == "train" else "examples"
        return (Reading(interval, n, unit, error * n**0.5, measure.when),)
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    return (Reading(partial(t_interval, values), len(values), "seeds", sd, measure.when),)


def _slope(
    measure: Measure, facts: RunFacts, evidence: Evidence, *, part: tuple[float, float, float]
) -> Slope | Missing:
    window = window_of(replace(measure, over=part[:2], at=None), facts)
    units = units_of(measure, facts, evidence, window=unseen(window, facts))
    if isinstance(units, Missing):
        return units
    slope = slope_of(units.steps.astype(float), units.totals, units.counts)
    place = f"steps {window.first_step} to {window.last_step} of run {facts.run}"
    return slope or Missing(f"{place} hold fewer than three rows or one review: no slope")


def _between(prediction: Prediction) -> Region:
    low, high = prediction.expect.numbers
    beyond = prediction.beyond
    assert beyond is not None
    return regions.between(low, high, beyond=beyond)


def _ratio(prediction: Prediction) -> Region:
    ratio = prediction.expect.ratio
    assert ratio is not None
    if ratio.between is not None:
        return _between(prediction)
    return regions.above(ratio.above) if ratio.above is not None else regions.below(prediction.expect.numbers[0])


BAND = Region(((-1.0, 1.0),), closed=True)
"""The band of a forecast, in its own half widths."""


def _sized(make: Callable[[float], Region]) -> Callable[[Prediction], Region]:
    return lambda prediction: make(prediction.expect.numbers[-1])


PREDICATES: tuple[Predicate, ...] = (
    Predicate("between", _between, read_value, "the value lies between two numbers"),
    Predicate("above", _sized(regions.above), read_value, "the value lies above a number"),
    Predicate("below", _sized(regions.below), read_value, "the value lies below a number"),
    Predicate("differs", _sized(regions.apart), read_value, "arm and versus differ by more than a number, either way"),
    Predicate("ratio", _ratio, read_ratio, "arm / versus lies between, above or below"),
    Predicate(
        "coincide", _sized(regions.around), read_curve, "two values or curves are closer than a margin, everywhere"
    ),
    Predicate("falls_after", _sized(regions.above), read_bend, "the curve falls faster after a point than before it"),
    Predicate("plateaus", _sized(regions.around), read_change, "the curve moves less than a margin over the window"),
    Predicate("order", lambda _: regions.above(0.0), read_order, "the arms are ordered, lowest first"),
    Predicate("within", lambda _: BAND, read_within, "the curve lies in a band that finished runs foretell"),
)


def predicate_of(prediction: Prediction) -> Predicate:
    """Return the row of ``prediction``'s predicate."""
    return next(row for row in PREDICATES if row.name == prediction.expect.predicate)
