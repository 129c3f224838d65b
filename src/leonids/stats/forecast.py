"""Prediction bands: where the curve of one more run will lie, if it is made as the finished ones were."""

import math

import numpy as np

from leonids.stats.intervals import Floats, t_quantile

LEAST_RUNS = 3
"""Two runs give a spread of one degree of freedom, and a band so wide that it says nothing."""


def prediction_band(values: Floats, *, level: float, errors: Floats) -> tuple[Floats, Floats]:
    """Return the lower and the upper edge of a band, ``[G]`` each, from the curves of finished runs, ``[n, G]``.

    The whole curve of one further run lies inside with a chance of at least ``level``, if the runs are
    exchangeable and their values at each point normal: at each of G points the band is the t prediction interval
    ``mean +- t * sd * sqrt(1 + 1 / n)`` at ``1 - (1 - level) / G`` (Whitmore 1986; Bonferroni over the points).
    ``errors`` [G] stands in for the standard deviation where it is larger: all runs at 100 % is not certainty.
    """
    n, points = values.shape
    quantile = t_quantile(1.0 - (1.0 - level) / (2 * points), df=n - 1)
    half = quantile * np.maximum(values.std(axis=0, ddof=1), errors) * math.sqrt(1 + 1 / n)
    mean = values.mean(axis=0)
    return mean - half, mean + half
