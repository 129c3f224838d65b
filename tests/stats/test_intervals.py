import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from leonids.stats.intervals import (
    Absent,
    Interval,
    binomial_interval,
    paired_share_interval,
    ratio_interval,
    t_interval,
    welch_interval,
)

LEVELS = st.sampled_from([0.8, 0.9, 0.95, 0.99])
VALUES = st.lists(st.integers(-100_000, 100_000).map(lambda i: i / 1000), min_size=2, max_size=30)


@given(st.integers(1, 400), st.data(), LEVELS)
def test_binomial_interval_is_scipys_exact_one(n, data, level):
    k = data.draw(st.integers(0, n))
    found = binomial_interval(k, n, level=level)
    exact = stats.binomtest(k, n).proportion_ci(confidence_level=level, method="exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=1e-12)
    assert found.low <= found.estimate <= found.high


@pytest.mark.parametrize("n", [1, 5, 12, 40])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_binomial_interval_covers_every_true_share_by_exact_sum(n, level):
    ends = [binomial_interval(k, n, level=level) for k in range(n + 1)]
    for p in np.linspace(0.0, 1.0, 101):
        mass = stats.binom.pmf(np.arange(n + 1), n, p)
        covered = sum(m for m, iv in zip(mass, ends, strict=True) if iv.low - 1e-12 <= p <= iv.high + 1e-12)
        assert covered >= level - 1e-9


@given(VALUES, LEVELS)
def test_t_interval_is_scipys(values, level):
    if len(set(values)) == 1:
        values = [*values, values[0] + 1.0]
    found = t_interval(values, level=level)
    low, high = stats.t.interval(level, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    "make",
    [
        lambda: t_interval([], level=0.9),
        lambda: t_interval([0.7], level=0.9),
        lambda: ratio_interval(np.array([3.0]), np.array([5.0]), level=0.9),
        lambda: ratio_interval(np.array([]), np.array([]), level=0.9),
        lambda: ratio_interval(np.array([0.0, 0.0]), np.array([0.0, 0.0]), level=0.9),
        lambda: binomial_interval(0, 0, level=0.9),
        lambda: paired_share_interval(np.array([]), np.array([]), level=0.9),
        lambda: welch_interval((1.0, 2.0), (0.1, 0.1), (1, 9), level=0.9),
    ],
)
def test_too_little_data_is_absent_with_a_reason_never_a_number(make):
    found = make()
    assert isinstance(found, Absent)
    assert found.reason


def test_equal_values_take_the_deviation_they_are_given():
    bare = t_interval([1.0, 1.0, 1.0], level=0.9)
    doubting = t_interval([1.0, 1.0, 1.0], level=0.9, sd_if_equal=0.01)
    assert bare.low == bare.high == 1.0
    assert doubting.low < 1.0 < doubting.high


@given(VALUES, st.integers(1, 40), LEVELS)
def test_a_ratio_with_equal_counts_is_a_mean(totals, count, level):
    t = np.array([*totals, max(totals) + 1])
    found = ratio_interval(t, np.full(t.size, float(count)), level=level)
    plain = t_interval(t / count, level=level)
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), rel=1e-9, abs=1e-9)


@given(st.integers(2, 300), st.data(), LEVELS)
def test_pairs_that_never_disagree_leave_doubt(n, data, level):
    both = np.array(data.draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=n, max_size=n)))
    found = paired_share_interval(both, both, level=level)
    assert found.low < 0.0 < found.high
    assert found.estimate == 0.0


@given(VALUES, VALUES, LEVELS)
def test_welch_interval_is_scipys(a, b, level):
    a, b = [*a, max(a) + 1.0], [*b, max(b) + 1.0]
    errors = (float(stats.sem(a)), float(stats.sem(b)))
    found = welch_interval((float(np.mean(a)), float(np.mean(b))), errors, (len(a), len(b)), level=level)
    exact = stats.ttest_ind(a, b, equal_var=False).confidence_interval(level)
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), rel=1e-7, abs=1e-7)


@given(VALUES)
def test_a_higher_level_is_a_wider_interval(values):
    values = [*values, max(values) + 1.0]
    narrow, wide = (t_interval(values, level=level) for level in (0.8, 0.99))
    assert isinstance(narrow, Interval)
    assert isinstance(wide, Interval)
    assert wide.low < narrow.low
    assert narrow.high < wide.high
    assert math.isfinite(wide.low)
