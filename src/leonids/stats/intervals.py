"""Confidence intervals whose unit is an example, a step or a seed, never a token.

Every function returns an ``Interval``, or an ``Absent`` that says why there is none: too little data is
not an interval of width zero. Two-sided intervals at level ``1 - 2 * alpha`` have error at most ``alpha``
on each side, so lying inside (or outside) a claimed region is a test at ``alpha``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from leonids.stats import special

Floats: TypeAlias = NDArray[np.float64]


@final
@dataclass(frozen=True, slots=True)
class Interval:
    """A two-sided confidence interval; ``n`` counts units, ``level`` is the coverage it promises."""

    low: float
    high: float
    estimate: float
    n: int
    level: float


@final
@dataclass(frozen=True, slots=True)
class Absent:
    """No interval, and why. ``estimate`` is there when the data have a value but no spread."""

    reason: str
    n: int
    estimate: float | None = None


Bounds: TypeAlias = Interval | Absent


def t_quantile(p: float, *, df: float) -> float:
    """Return the ``p`` quantile of Student's t with ``df`` degrees of freedom."""
    return float(special.stdtrit(df, p))


def t_half_width(*, sd: float, n: int, level: float) -> float:
    """Return the half width of the t-interval of a mean of ``n`` values with standard deviation ``sd``."""
    return t_quantile(0.5 + level / 2, df=n - 1) * sd / math.sqrt(n)


def binomial_interval(successes: int, n: int, *, level: float) -> Bounds:
    """Return the exact (Clopper-Pearson) interval of a share: coverage at least ``level`` at every true share.

    >>> iv = binomial_interval(312, 500, level=0.95)
    >>> isinstance(iv, Interval) and (round(iv.low, 3), round(iv.high, 3))
    (0.58, 0.667)
    """
    if n < 1:
        return Absent("nothing was measured", 0)
    tail = (1 - level) / 2
    low = 0.0 if successes == 0 else float(special.betaincinv(successes, n - successes + 1, tail))
    high = 1.0 if successes == n else float(special.betaincinv(successes + 1, n - successes, 1 - tail))
    return Interval(low, high, successes / n, n, level)


def same(values: Floats) -> bool:
    """Return whether all ``values`` are one number, up to rounding: 10/24 - 9/24 is not 8/24 - 7/24 to the last bit."""
    return float(np.ptp(values)) <= 1e-12 * max(1.0, float(np.abs(values).max()))


def t_interval(values: Sequence[float] | Floats, *, level: float, sd_if_equal: float = 0.0) -> Bounds:
    """Return Student's t-interval of the mean of ``values``, one value per unit.

    ``sd_if_equal`` stands in for the standard deviation when all values are the same number, as happens to
    shares at 0 or 1, where a sample deviation of zero would claim certainty.
    """
    v = np.asarray(values, dtype=np.float64)
    if v.size == 0:
        return Absent("nothing was measured", 0)
    mean = float(v.mean())
    if v.size == 1:
        return Absent("one value has no spread", 1, mean)
    sd = sd_if_equal if same(v) else float(v.std(ddof=1))
    half = t_half_width(sd=sd, n=v.size, level=level)
    return Interval(mean - half, mean + half, mean, int(v.size), level)


def ratio_influences(totals: Floats, counts: Floats) -> Floats:
    """Return each unit's influence ``(total - R * count) / mean(count)`` on the ratio of totals ``R``; ``[n]``.

    The ratio behaves as a mean of ``R + influence`` to first order (Cochran 1977, section 6.4), which makes
    differences of ratios over the same units a paired mean.
    """
    influences: Floats = (totals - totals.sum() / counts.sum() * counts) / counts.mean()
    return influences


def ratio_interval(totals: Floats, counts: Floats, *, level: float) -> Bounds:
    """Return the t-interval of ``sum(totals) / sum(counts)`` with the rows as units (linearised ratio).

    ``totals`` and ``counts`` are ``[n]``: one row per example (its nats, its tokens) or per step.
    """
    n = int(totals.size)
    if n == 0 or counts.sum() <= 0:
        return Absent("nothing was measured", 0)
    ratio = float(totals.sum() / counts.sum())
    if n == 1:
        return Absent("one value has no spread", 1, ratio)
    half = t_half_width(sd=deviation(ratio_influences(totals, counts)), n=n, level=level)
    return Interval(ratio - half, ratio + half, ratio, n, level)


def deviation(influences: Floats) -> float:
    """Return the standard deviation of influences, which have mean zero, with ``n - 1`` in the denominator."""
    return math.sqrt(float(np.square(influences).sum()) / (influences.size - 1)) if influences.size > 1 else math.nan


def paired_share_interval(first: Floats, second: Floats, *, level: float) -> Bounds:
    """Return an interval of the difference of two shares over the same units (0 or 1 each, ``[n]``).

    Agresti and Min (2005): half an observation is added to each of the four cells, so that no discordant
    pair does not mean no doubt.
    """
    n = int(first.size)
    if n == 0:
        return Absent("nothing was measured", 0)
    wins, losses = float((first > second).sum()), float((first < second).sum())
    centre = (wins - losses) / (n + 2)
    variance = ((wins + losses + 1) - (wins - losses) ** 2 / (n + 2)) / (n + 2) ** 2
    half = t_quantile(0.5 + level / 2, df=max(n - 1, 1)) * math.sqrt(variance)
    return Interval(max(-1.0, centre - half), min(1.0, centre + half), (wins - losses) / n, n, level)


def welch_interval(
    means: tuple[float, float], errors: tuple[float, float], ns: tuple[int, int], *, level: float
) -> Bounds:
    """Return the interval of ``means[0] - means[1]`` of independent units (Welch-Satterthwaite degrees of freedom).

    ``errors`` are standard errors of the means, ``ns`` the numbers of units behind them.
    """
    difference = means[0] - means[1]
    if min(ns) < 2:
        return Absent("one value has no spread", min(ns), difference)
    a, b = errors[0] ** 2, errors[1] ** 2
    if a + b == 0:
        return Interval(difference, difference, difference, min(ns), level)
    df = (a + b) ** 2 / (a**2 / (ns[0] - 1) + b**2 / (ns[1] - 1))
    half = t_quantile(0.5 + level / 2, df=df) * math.sqrt(a + b)
    return Interval(difference - half, difference + half, difference, min(ns), level)
