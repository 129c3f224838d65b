"""Is confidence honest? Measures of calibration, each with what it would be by chance alone.

``confidence`` are probabilities ``[n]`` and ``right`` are 0 or 1 ``[n]``; the units must be independent, so one
row is one answer, not one token.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np

from leonids.stats import special
from leonids.stats.intervals import Absent, Bounds, Floats, Interval

GRID = 200
"""Points of the smoothing grid; bandwidths below its step are not told apart."""
MIN_ERRORS = 25


@final
@dataclass(frozen=True, slots=True)
class Calibration:
    """A calibration error beside ``null``: its expected value if every confidence were exactly honest."""

    value: float
    null: float
    n: int


def smooth_error(confidence: Floats, right: Floats) -> Calibration:
    """Return the smooth calibration error: no bins, the bandwidth chosen by the data.

    Błasiok and Nakkiran (2023), Algorithm 1: residuals are smoothed by a Gaussian kernel reflected at 0 and 1,
    and the bandwidth is the one that equals the error it gives.
    """
    n = confidence.size
    cells = np.minimum((confidence * GRID).astype(np.int64), GRID - 1)
    gaps = np.bincount(cells, weights=right - confidence, minlength=GRID) / n
    noise = np.bincount(cells, weights=confidence * (1 - confidence), minlength=GRID) / n**2

    def error(kernel: Floats) -> float:
        return float(np.abs(kernel @ gaps).mean())

    def chance(kernel: Floats) -> float:
        return float(np.sqrt(2 / math.pi * (np.square(kernel) @ noise)).mean())

    return Calibration(_fixpoint(error), _fixpoint(chance), n)


def _fixpoint(measure: Callable[[Floats], float]) -> float:
    """Return the bandwidth that equals the error under it; the error falls as the bandwidth grows."""
    low, high = 1.0 / GRID, 1.0
    if measure(_kernel(low)) <= low:
        return measure(_kernel(low))
    for _ in range(14):
        middle = (low + high) / 2
        low, high = (middle, high) if measure(_kernel(middle)) > middle else (low, middle)
    return (low + high) / 2


def _kernel(bandwidth: float) -> Floats:
    """Return the Gaussian kernel reflected at 0 and 1 on the grid's cells, ``[GRID, GRID]``, columns of mean 1."""
    i = np.arange(GRID)
    # Cell centres lie on a lattice, so every distance to a cell or to its mirror images is one of few.
    lattice = np.exp(-0.5 * np.square(np.arange(-5 * GRID, 5 * GRID + 1) / (GRID * bandwidth)))
    near, mirrored = i[:, None] - i[None, :], i[:, None] + i[None, :] + 1
    kernel: Floats = np.zeros((GRID, GRID))
    for shift in range(-4 * GRID, 4 * GRID + 1, 2 * GRID):
        kernel += lattice[np.clip(near + shift, -5 * GRID, 5 * GRID) + 5 * GRID]
        kernel += lattice[np.clip(mirrored + shift, -5 * GRID, 5 * GRID) + 5 * GRID]
    kernel /= kernel.mean(axis=0, keepdims=True)
    return kernel


def discrimination(confidence: Floats, right: Floats, *, level: float) -> Bounds:
    """Return the chance that a right answer is more confident than a wrong one (AUROC), with its interval.

    DeLong's variance on the logit scale. Absent with fewer than 25 wrong or 25 right answers.
    """
    good, bad = confidence[right == 1], confidence[right == 0]
    fewer = min(good.size, bad.size)
    if fewer < MIN_ERRORS:
        kind = "wrong" if bad.size <= good.size else "right"
        return Absent(f"{fewer} {kind} answers are fewer than {MIN_ERRORS}", int(confidence.size))
    order = np.sort(bad), np.sort(good)
    above = (np.searchsorted(order[0], good, "left") + np.searchsorted(order[0], good, "right")) / (2 * bad.size)
    below = 1 - (np.searchsorted(order[1], bad, "left") + np.searchsorted(order[1], bad, "right")) / (2 * good.size)
    area = float(above.mean())
    n = int(confidence.size)
    if area in (0.0, 1.0):
        # All pairs agree: the rule of three on the smaller group is all that is known.
        edge = (1 - level) ** (1 / fewer)
        return Interval(edge, 1.0, area, n, level) if area else Interval(0.0, 1 - edge, area, n, level)
    error = math.sqrt(float(above.var(ddof=1)) / good.size + float(below.var(ddof=1)) / bad.size)
    half = float(special.ndtri(0.5 + level / 2)) * error / (area * (1 - area))
    centre = math.log(area / (1 - area))
    return Interval(float(special.expit(centre - half)), float(special.expit(centre + half)), area, n, level)
