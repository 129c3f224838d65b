"""How many seeds or examples a claim needs."""

from leonids.stats.intervals import t_half_width


def units_to_decide(distance: float, *, sd: float, level: float, have: int, most: int) -> int | None:
    """Return the least number of units, more than ``have``, whose t-interval is narrower than ``distance`` a side.

    ``distance`` is from the estimate to the nearest border of the claim, taken as it stands: a guide, no promise.
    None where more than ``most`` would be needed.

    >>> units_to_decide(0.02, sd=0.01, level=0.9, have=2, most=100)
    3
    """
    if not distance > 0 or not sd >= 0 or t_half_width(sd=sd, n=max(2, most), level=level) >= distance:
        return None
    low, high = max(1, have), most
    while high - low > 1:
        middle = (low + high) // 2
        if middle > 1 and t_half_width(sd=sd, n=middle, level=level) < distance:
            high = middle
        else:
            low = middle
    return high
