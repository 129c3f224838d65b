"""From evidence to intervals: the one place where the unit is chosen.

Scope ``run`` speaks of one run; its units are examples (held-out) or steps (training stream). Scope ``seeds``
speaks of the recipe; its units are seeds, each with one value. Tokens are never units: tokens of one answer
move together, and an interval over tokens covers 65 % where it promises 95 %.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, final

import numpy as np
from numpy.typing import NDArray

from leonids.claims.evidence import Evidence, RunFacts, Units, Window, step_at
from leonids.claims.measure import Measure
from leonids.claims.prediction import Scope
from leonids.stats.intervals import (
    Absent,
    Bounds,
    Interval,
    binomial_interval,
    deviation,
    paired_share_interval,
    ratio_influences,
    ratio_interval,
    same,
    t_interval,
    welch_interval,
)
from leonids.stats.sequential import mean_sequence, moving_share_sequence, share_sequence

MIN_STEPS = 10
"""The least number of training steps in a window: below it the spread of steps is hardly known."""


class IntervalAt(Protocol):
    """An interval as a function of its level."""

    def __call__(self, *, level: float) -> Bounds:
        """Return the interval at ``level``, or why there is none."""
        ...


@final
@dataclass(frozen=True, slots=True)
class Reading:
    """One quantity as the data give it. ``sd`` is per unit, so that ``sd / sqrt(n)`` is the standard error."""

    interval: IntervalAt
    n: int
    unit: str
    sd: float
    at: str


@final
@dataclass(frozen=True, slots=True)
class Missing:
    """Data that a reading needs and that are not there, or not usable."""

    reason: str
    non_finite: bool = False


def window_of(measure: Measure, facts: RunFacts) -> Window:
    """Return the steps of ``facts``' run that ``measure`` speaks of.

    A point in time on the training stream is the last ``within`` of the progress before it, and at least
    ``MIN_STEPS`` steps; on a held-out split it is the review at that step.
    """
    start, end = (step_at(point, planned_steps=facts.planned_steps) for point in measure.period)
    end = max(1, end)
    if measure.over is not None:
        return Window(start + 1 if measure.split == "train" else start, end)
    if measure.split != "train":
        return Window(end, end)
    steps = max(MIN_STEPS, round(measure.within * facts.planned_steps))
    return Window(max(1, end - steps + 1), end)


def unseen(window: Window, facts: RunFacts) -> Window:
    """Return the part of ``window`` after the watermark; the whole of it if nothing is left (graded late)."""
    if facts.seen_steps >= window.last_step:
        return window
    return Window(max(window.first_step, facts.seen_steps + 1), window.last_step)


def units_of(measure: Measure, facts: RunFacts, evidence: Evidence, *, window: Window) -> Units | Missing:
    """Return the rows of one run in ``window``, or what is wrong with them."""
    units = evidence.units(facts.run, metric=measure.metric, tokens=measure.tokens, split=measure.split, window=window)
    place = f"{measure.metric} of run {facts.run} on {measure.split} in steps {window.first_step} to {window.last_step}"
    if units is None or units.totals.size == 0 or units.counts.sum() <= 0:
        return Missing(f"{place} was never measured")
    if not (np.isfinite(units.totals).all() and np.isfinite(units.counts).all()):
        return Missing(f"{place} is not finite", non_finite=True)
    return units


def aligned(first: Units, second: Units) -> tuple[Units, Units] | None:
    """Return both with the rows they share, in one order; None where they share fewer than half."""
    ids = [(u.steps.astype(np.int64) << 32) + u.keys for u in (first, second)]
    shared, a, b = np.intersect1d(ids[0], ids[1], return_indices=True)
    if shared.size == 0 or 2 * shared.size < max(len(ids[0]), len(ids[1])):
        return None
    return _rows(first, a), _rows(second, b)


def _rows(units: Units, rows: NDArray[np.intp]) -> Units:
    return Units(units.totals[rows], units.counts[rows], units.steps[rows], units.keys[rows], units.unit)


def run_reading(measure: Measure, units: Units, other: Units | None) -> Reading:
    """Return what one run (or the difference of two) says, its examples or steps as units."""
    if other is not None:
        return _run_difference(measure, units, other)
    n = int(units.totals.size)
    if measure.kind.whole_answer:
        right, asked = round(float(units.totals.sum())), round(float(units.counts.sum()))
        share = right / asked
        interval: IntervalAt = partial(binomial_interval, right, asked)
        return Reading(interval, asked, "examples", math.sqrt(share * (1 - share)), measure.when)
    sd = deviation(ratio_influences(units.totals, units.counts))
    if measure.kind.is_share and sd == 0.0 and units.value in (0.0, 1.0):
        # Every unit is perfect: what is known is that perfect units are common, not that all are perfect.
        return Reading(partial(binomial_interval, round(units.value * n), n), n, units.unit, 0.0, measure.when)
    return Reading(partial(ratio_interval, units.totals, units.counts), n, units.unit, sd, measure.when)


def _run_difference(measure: Measure, units: Units, other: Units) -> Reading:
    pair = aligned(units, other)
    if pair is None:
        return _apart(units, other, when=measure.when)
    a, b = pair
    n = int(a.totals.size)
    if measure.kind.whole_answer and measure.split != "train":
        sd = float(np.std(a.totals - b.totals))
        return Reading(partial(paired_share_interval, a.totals, b.totals), n, "examples", sd, measure.when)
    influence = ratio_influences(a.totals, a.counts) - ratio_influences(b.totals, b.counts)
    interval = partial(t_interval, a.value - b.value + influence)
    return Reading(interval, n, units.unit, deviation(influence), measure.when)


def _apart(first: Units, second: Units, *, when: str) -> Reading:
    sds = tuple(deviation(ratio_influences(u.totals, u.counts)) for u in (first, second))
    ns = (int(first.totals.size), int(second.totals.size))
    errors = (sds[0] / math.sqrt(ns[0]), sds[1] / math.sqrt(ns[1]))
    interval = partial(welch_interval, (first.value, second.value), errors, ns)
    return Reading(interval, min(ns), first.unit, math.hypot(*errors) * math.sqrt(min(ns)), when)


def sampling_error(measure: Measure, units: Units, other: Units | None) -> float:
    """Return the standard error of one seed's value that its own finite number of units leaves.

    Shares get two observations of each kind added (Agresti and Coull 1998), so that 500 right of 500 leaves doubt.
    """
    reading = run_reading(measure, units, other)
    n = reading.n
    if not measure.kind.is_share:
        return reading.sd / math.sqrt(n) if n > 1 else 0.0
    if other is None and measure.kind.whole_answer:
        share = (float(units.totals.sum()) + 2) / (n + 4)
        return math.sqrt(share * (1 - share) / (n + 4))
    return math.sqrt((reading.sd**2 * n + 1) / n) / math.sqrt(n)


def seeds_reading(measure: Measure, rows: Sequence[tuple[Units, Units | None]]) -> Reading:
    """Return what the recipe says: one value per seed (or per pair of runs that share a seed), seeds as units."""
    values = np.asarray([u.value - (o.value if o is not None else 0.0) for u, o in rows], dtype=np.float64)
    errors = [sampling_error(measure, u, o) for u, o in rows]
    fallback = math.sqrt(sum(e * e for e in errors) / len(errors))
    sd = float(values.std(ddof=1)) if values.size > 1 and not same(values) else math.nan
    interval = partial(t_interval, values, sd_if_equal=fallback)
    return Reading(interval, len(rows), "seeds", sd if sd > 0 else fallback, measure.when)


def ratio_reading(measure: Measure, rows: Sequence[tuple[Units, Units]]) -> Reading | Missing:
    """Return the ratio ``arm / versus`` over seeds: the t-interval of its logarithm, mapped back."""
    pairs = [(u.value, o.value) for u, o in rows]
    if any(a <= 0 or b <= 0 for a, b in pairs):
        return Missing(f"a ratio of {measure.metric} needs values above zero in both arms")
    logs = np.asarray([math.log(a / b) for a, b in pairs], dtype=np.float64)
    sd = float(logs.std(ddof=1)) if logs.size > 1 else math.nan
    return Reading(mapped(partial(t_interval, logs), math.exp), len(rows), "seeds", sd, measure.when)


def mapped(interval: IntervalAt, onto: Callable[[float], float]) -> IntervalAt:
    """Return ``interval`` with its ends and its estimate passed through the increasing function ``onto``."""

    def at(*, level: float) -> Bounds:
        found = interval(level=level)
        if isinstance(found, Absent):
            estimate = None if found.estimate is None else onto(found.estimate)
            return Absent(found.reason, found.n, estimate)
        return Interval(onto(found.low), onto(found.high), onto(found.estimate), found.n, found.level)

    return at


def peek_safe(measure: Measure, reading: Reading, *, scope: Scope) -> Reading:
    """Return a reading of one run with an interval that stays true however often it is looked at before it is due.

    A recipe's reading is left as it is: seeds do not arrive one by one.
    """
    if scope == "seeds":
        return reading

    def sequence(*, level: float) -> Bounds:
        plain = reading.interval(level=level)
        if plain.estimate is None:
            return plain
        if measure.kind.whole_answer and measure.versus is None:
            follow = moving_share_sequence if measure.split == "train" else share_sequence
            return follow(round(plain.estimate * plain.n), plain.n, level=level)
        return mean_sequence(plain.estimate, sd=reading.sd, n=plain.n, level=level)

    return replace(reading, interval=sequence)
