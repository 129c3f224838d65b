"""How many seeds or examples a claim needs, and how likely a planned number is to decide it.

A claim is a range ``(low, high)``, either end possibly infinite; it is supported when the interval at ``level``
lies inside. Power is the chance of that for a truth inside the range.
"""

import math
from collections.abc import Callable

import numpy as np

from leonids.stats import special
from leonids.stats.intervals import t_half_width, t_quantile

GRID = (np.arange(2000) + 0.5) / 2000
"""Midpoints of probability over which the sample deviation is averaged; its error is below 0.001 in power."""


def units_to_decide(distance: float, *, sd: float, level: float, have: int, most: int) -> int | None:
    """Return the least number of units, more than ``have``, whose t-interval is narrower than ``distance`` a side.

    ``distance`` is from the estimate to the nearest border of the claim, taken as it stands: a guide, no promise.
    None where more than ``most`` would be needed.

    >>> units_to_decide(0.02, sd=0.01, level=0.9, have=2, most=100)
    3
    """
    if not (distance > 0 and sd >= 0):
        return None
    return least(lambda n: t_half_width(sd=sd, n=n, level=level) < distance, first=max(2, have + 1), most=most)


def least(enough: Callable[[int], bool], *, first: int, most: int) -> int | None:
    """Return the least ``n`` in ``first..most`` with ``enough(n)``, which must stay true once true; None without."""
    if most < first or not enough(most):
        return None
    low, high = first - 1, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def t_power(n: int, *, low: float, high: float, truth: float, sd: float, level: float) -> float:
    """Return the chance that the t-interval of ``n`` normal values lies inside ``(low, high)``.

    The sample deviation is averaged over; two-sided ranges give the power of the two one-sided tests.

    >>> round(t_power(5, low=-2.0, high=2.0, truth=0.0, sd=1.0, level=0.9), 2)
    0.95
    """
    if n < 2:
        return 0.0
    spread = np.sqrt(special.chdtri(n - 1, 1 - GRID) / (n - 1))
    half = t_quantile(0.5 + level / 2, df=n - 1) * spread / math.sqrt(n)
    ends = [(end - truth) / sd for end in (low, high)]
    inside = special.ndtr((ends[1] - half) * math.sqrt(n)) - special.ndtr((ends[0] + half) * math.sqrt(n))
    return float(np.maximum(inside, 0.0).mean())


def share_power(n: int, *, low: float, high: float, truth: float, level: float) -> float:
    """Return the chance that the exact binomial interval of ``n`` examples lies inside ``(low, high)``; no simulation.

    >>> share_power(501, low=0.80, high=1.0, truth=0.85, level=0.9) > 0.9
    True
    """
    tail = (1 - level) / 2
    # The interval's ends rise with the number of right answers k, so those inside are a range of k.
    first = 0 if low <= 0 else least(lambda k: bool(special.betainc(k, n - k + 1, low) < tail), first=1, most=n)
    beyond = least(lambda k: _reaches(k, n, high=high, tail=tail), first=0, most=n)
    last = n if beyond is None else beyond - 1
    if first is None or last < first:
        return 0.0
    return _chance_up_to(last, n, truth) - (_chance_up_to(first - 1, n, truth) if first else 0.0)


def _reaches(k: int, n: int, *, high: float, tail: float) -> bool:
    """Whether the upper end of the interval of ``k`` of ``n`` is ``high`` or more."""
    return high < 1 and (k == n or bool(special.betaincc(k + 1, n - k, high) >= tail))


def _chance_up_to(k: int, n: int, share: float) -> float:
    return 1.0 if k >= n else float(special.betaincc(k + 1, n - k, share))


def examples_needed(low: float, *, truth: float, level: float, power: float) -> int | None:
    """Return the first number of examples that shows a share above ``low`` with ``power`` when it is ``truth``.

    The exact test's power rises in saw teeth, so a few larger numbers may fall short of it by a hair.

    >>> examples_needed(0.80, truth=0.85, level=0.9, power=0.8)
    365
    """

    def enough(n: int) -> bool:
        return share_power(n, low=low, high=1.0, truth=truth, level=level) >= power

    near = least(enough, first=1, most=20_000)
    if near is None:
        return None
    return next(n for n in range(max(1, near - near // 4 - 10), near + 1) if enough(n))


def decidable_sd(n: int, *, level: float, power: float = 0.8, two_sided: bool = False) -> float | None:
    """Return the distance from truth to border, in standard deviations of a unit, that ``n`` units decide.

    >>> round(decidable_sd(5, level=0.9, two_sided=True), 1)
    1.6
    """
    if n < 2:
        return None

    def reached(tenths: int) -> bool:
        d = tenths / 100
        return t_power(n, low=-d if two_sided else -math.inf, high=d, truth=0.0, sd=1.0, level=level) >= power

    found = least(reached, first=1, most=100_000)
    return None if found is None else found / 100
