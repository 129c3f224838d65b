"""Straight lines through parts of a curve: how much it falls, with the rows as independent units."""

import math
from dataclasses import dataclass
from typing import final

import numpy as np

from leonids.stats.intervals import Absent, Bounds, Floats, Interval, t_quantile


@final
@dataclass(frozen=True, slots=True)
class Slope:
    """A least-squares slope (unit of the curve per step) with its standard error over ``n`` rows."""

    per_step: float
    error: float
    n: int


def slope_of(steps: Floats, totals: Floats, counts: Floats) -> Slope | None:
    """Return the count-weighted least-squares slope of ``totals / counts`` on ``steps``, ``[n]`` each.

    None with fewer than three rows or one distinct step. The error is the sandwich estimate (White 1980), which
    allows rows of unequal noise. A least-squares slope is an average of the curve's local slopes with weights
    that are not negative, so on a convex curve a later slope is never steeper downwards than an earlier one.
    """
    if steps.size < 3 or bool(np.all(steps == steps[0])):
        return None
    centred = steps - float((counts * steps).sum() / counts.sum())
    spread = float((counts * centred * centred).sum())
    slope = float((centred * totals).sum()) / spread
    level = float(totals.sum() / counts.sum())
    residual = totals - counts * (level + slope * centred)
    error = math.sqrt(float(np.square(centred * residual).sum()) * steps.size / (steps.size - 2)) / spread
    return Slope(slope, error, int(steps.size))


def estimate_interval(estimate: float, *, error: float, n: int, df: float, level: float) -> Bounds:
    """Return the t-interval around an estimate with a standard error and degrees of freedom."""
    if df < 1:
        return Absent("too few rows for a slope", n, estimate)
    half = t_quantile(0.5 + level / 2, df=df) * error
    return Interval(estimate - half, estimate + half, estimate, n, level)
