"""Confidence sequences: intervals that hold at every look at once, however often and for whatever reason one looks.

They are wider than an interval made for one look (about 1.8 times at 500 examples) and are what a page or a
prediction that is not due yet shows. A verdict uses the exact interval of its registered number instead.
"""

import math

from leonids.stats import special
from leonids.stats.intervals import Absent, Bounds, Interval

TUNED_FOR = 500
"""The number of units at which the mixtures are narrowest."""


def share_sequence(successes: int, n: int, *, level: float) -> Bounds:
    """Return the beta-binomial confidence sequence at ``n`` for one constant share.

    The mixture ``E(p) = B(1/2 + k, 1/2 + n - k) / B(1/2, 1/2) / (p^k (1-p)^(n-k))`` is a martingale with mean 1
    under share ``p``; all ``p`` with ``E(p) < 1 / (1 - level)`` are kept (Robbins 1970; Howard et al. 2021).
    """
    if n < 1:
        return Absent("nothing was measured", 0)
    from scipy import optimize  # noqa: PLC0415 - a third of a second that most commands need not wait for

    k, share = successes, successes / n
    evidence = special.betaln(0.5 + k, 0.5 + n - k) - special.betaln(0.5, 0.5) + math.log(1 - level)

    def excess(p: float) -> float:
        return float(evidence - special.xlogy(k, p) - special.xlog1py(n - k, -p))

    low = 0.0 if k == 0 or excess(0.0) < 0 else float(optimize.brentq(excess, 0.0 + 1e-300, share, xtol=1e-12))
    high = 1.0 if k == n or excess(1.0) < 0 else float(optimize.brentq(excess, share, 1.0 - 1e-16, xtol=1e-12))
    return Interval(low, high, share, n, level)


def moving_share_sequence(successes: int, n: int, *, level: float) -> Bounds:
    """Return the confidence sequence of the *average* share so far when the share itself moves, as in training.

    Normal mixture for bounded steps (Howard et al. 2021, eq. 14, variance at most 1/4 an example): example t need
    only be new to the weights that meet it.
    """
    if n < 1:
        return Absent("nothing was measured", 0)
    radius = 0.5 * _mixture_radius(n, level)
    share = successes / n
    return Interval(max(0.0, share - radius), min(1.0, share + radius), share, n, level)


def mean_sequence(estimate: float, *, sd: float, n: int, level: float) -> Bounds:
    """Return the confidence sequence of a mean from its sample deviation.

    Asymptotic (Waudby-Smith et al. 2024): the promise holds from some tens of units on.
    """
    if n < 2 or not math.isfinite(sd):
        return Absent("one value has no spread", n, estimate)
    radius = sd * _mixture_radius(n, level)
    return Interval(estimate - radius, estimate + radius, estimate, n, level)


def _mixture_radius(n: int, level: float) -> float:
    """Return the two-sided normal-mixture radius of a mean of ``n`` steps with standard deviation 1."""
    log_inverse = -2.0 * math.log(1 - level)
    rho = TUNED_FOR / (log_inverse + math.log(1.0 + log_inverse))
    return math.sqrt((n + rho) * (math.log((n + rho) / rho) + log_inverse)) / n
