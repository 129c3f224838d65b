"""Numbers as a reader meets them: with their n and interval, and in sums that add up as printed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from leonids.stats.intervals import Absent, Bounds, Interval, binomial_interval, ratio_interval

Floats: TypeAlias = NDArray[np.float64]

LEVEL = 0.95
"""The level of intervals that describe. Those that decide a verdict carry their own."""


@final
@dataclass(frozen=True, slots=True)
class Value:
    """A number with its interval at ``level``, both absent ends where there is none; ``n`` counts ``unit``s."""

    estimate: float
    low: float | None
    high: float | None
    n: int
    unit: str
    level: float = LEVEL


@final
@dataclass(frozen=True, slots=True)
class Missing:
    """A number that is not there, and why."""

    reason: str


Known: TypeAlias = Value | Missing


def value_of(bounds: Bounds, *, unit: str) -> Known:
    """Return an interval as a value; one that lacks an interval but has an estimate keeps that."""
    if isinstance(bounds, Interval):
        return Value(bounds.estimate, bounds.low, bounds.high, bounds.n, unit, bounds.level)
    assert isinstance(bounds, Absent)
    if bounds.estimate is None:
        return Missing(bounds.reason)
    return Value(bounds.estimate, None, None, bounds.n, unit)


def ratio(totals: Floats, counts: Floats, *, unit: str = "examples") -> Known:
    """Return ``sum(totals) / sum(counts)`` over rows ``[n]``, each row one unit."""
    return value_of(ratio_interval(totals, counts, level=LEVEL), unit=unit)


def share(right: int, n: int, *, unit: str = "examples") -> Known:
    """Return a share with its exact interval."""
    return value_of(binomial_interval(right, n, level=LEVEL), unit=unit)


def adding_up(parts: Sequence[float], *, places: int = 3) -> tuple[str, tuple[str, ...]]:
    """Return the sum of ``parts`` and the parts as texts of ``places`` decimals that add up exactly as printed.

    The sum is rounded; what rounding the parts would leave over goes to those with the largest remainders, so
    every text is less than one unit of its last place away from its value.

    >>> adding_up([0.3334, 0.3334, 0.3334])
    ('1.000', ('0.334', '0.333', '0.333'))
    """
    unit = 10**places
    # Sums of floats leave dust far below the last place; it must not decide which way a part is rounded.
    scaled = [round(part * unit, 6) for part in parts]
    whole = [math.floor(part) for part in scaled]
    total = round(math.fsum(scaled))
    order = sorted(range(len(parts)), key=lambda i: whole[i] - scaled[i])
    for i in order[: total - sum(whole)]:
        whole[i] += 1
    return _decimal(total, places), tuple(_decimal(part, places) for part in whole)


def _decimal(units: int, places: int) -> str:
    sign, size = "-" if units < 0 else "", abs(units)
    return f"{sign}{size // 10**places}.{size % 10**places:0{places}d}"


def nats(value: float) -> str:
    """Return a number of nats with three decimals, without a negative zero."""
    return f"{value:.3f}".replace("-0.000", "0.000")


def percent(value: float, *, places: int = 1) -> str:
    """Return a share as a percentage.

    >>> percent(0.624)
    '62.4 %'
    """
    return f"{100 * value:.{places}f} %"


def ends(value: Value, *, scale: float = 1.0, places: int = 3) -> str:
    """Return an interval's ends, such as ``58.0-66.7`` or ``-0.002 to 0.010``; empty where there is none."""
    if value.low is None or value.high is None:
        return ""
    low, high = (f"{scale * end:.{places}f}" for end in (value.low, value.high))
    return f"{low} to {high}" if low.startswith("-") or high.startswith("-") else f"{low}-{high}"


def interval(value: Value, *, scale: float = 1.0, places: int = 3) -> str:
    """Return ``95 % CI 58.0-66.7``, or why there is none."""
    shown = ends(value, scale=scale, places=places)
    return f"{100 * value.level:.3g} % CI {shown}" if shown else "no interval"
