import math

from hypothesis import given
from hypothesis import strategies as st

from leonids.claims import regions
from leonids.claims.prediction import Beyond
from leonids.stats.intervals import Interval

NUMBERS = st.floats(-10, 10)
SIDES = st.sampled_from(["refutes", "silent", "supports"])


def interval(a, b):
    return Interval(min(a, b), max(a, b), (a + b) / 2, 5, 0.9)


REGIONS = st.one_of(
    st.builds(regions.above, NUMBERS),
    st.builds(regions.below, NUMBERS),
    st.builds(regions.apart, st.floats(0, 5)),
    st.builds(regions.around, st.floats(0.01, 5)),
    st.builds(
        lambda a, b, s, t: regions.between(min(a, b), max(a, b) + 0.01, beyond=Beyond(below=s, above=t)),
        NUMBERS, NUMBERS, SIDES, st.just("refutes"),
    ),
)  # fmt: skip


def member(region, x):
    return any(low < x < high or (region.closed and low <= x <= high) for low, high in region.pieces)


@given(REGIONS, NUMBERS, NUMBERS, st.floats(0, 1))
def test_inside_means_every_value_is_claimed_and_outside_none(region, a, b, at):
    iv = interval(a, b)
    x = iv.low + at * (iv.high - iv.low)
    place = region.place(iv)
    if place == "inside":
        assert all(member(region, end) for end in (iv.low, iv.high))
        assert member(region, x) or len(region.pieces) > 1
    if place in ("below", "above", "gap"):
        assert not member(region, x)


@given(REGIONS, NUMBERS, NUMBERS, NUMBERS, NUMBERS)
def test_a_narrower_interval_never_loses_what_a_wider_one_decided(region, a, b, c, d):
    outer = interval(a, b)
    low, high = sorted((min(max(c, outer.low), outer.high), min(max(d, outer.low), outer.high)))
    place = region.place(outer)
    if place != "straddles":
        assert region.place(interval(low, high)) == place


@given(REGIONS)
def test_an_interval_without_bounds_decides_nothing_and_is_never_refuted(region):
    place = region.place(Interval(-math.inf, math.inf, 0.0, 5, 0.9))
    assert not region.refuted_by(place)
    assert place != "inside"


@given(REGIONS, st.floats(0.001, 0.2))
def test_a_claim_that_luck_can_meet_twice_pays_twice(region, alpha):
    assert math.isclose(1 - region.level(alpha), 2 * alpha / len(region.pieces))
