import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from leonids.stats.intervals import t_half_width
from leonids.stats.power import decidable_sd, examples_needed, share_power, t_power, units_to_decide

TABLE = {(3, 1.0): 0.13, (5, 1.0): 0.29, (10, 1.0): 0.79, (3, 2.0): 0.56, (5, 2.0): 0.95, (3, 3.0): 0.88}
"""Power of equivalence with paired seeds by (pairs, margin in deviations), from simulations of others' making."""


@pytest.mark.parametrize(("n", "margin"), TABLE)
def test_equivalence_has_the_tabled_power(n, margin):
    found = t_power(n, low=-margin, high=margin, truth=0.0, sd=1.0, level=0.9)
    assert found == pytest.approx(TABLE[n, margin], abs=0.015)


@given(st.integers(2, 30), st.floats(0.1, 2.0))
def test_one_sided_power_is_the_noncentral_t(n, distance):
    found = t_power(n, low=0.0, high=math.inf, truth=distance, sd=1.0, level=0.9)
    exact = stats.nct.sf(stats.t.ppf(0.95, n - 1), n - 1, distance * math.sqrt(n))
    assert found == pytest.approx(exact, abs=0.002)


@given(st.integers(5, 60), st.floats(0.05, 0.95), st.floats(0.05, 0.9))
def test_share_power_is_the_exact_binomial_tests(n, truth, low):
    found = share_power(n, low=low, high=1.0, truth=truth, level=0.9)
    rejects = [k for k in range(n + 1) if stats.binomtest(k, n, low, alternative="greater").pvalue < 0.05]
    assert found == pytest.approx(stats.binom.pmf(rejects, n, truth).sum(), abs=1e-9)


def test_the_example_counts_of_the_documentation():
    assert examples_needed(0.80, truth=0.85, level=0.9, power=0.8) == 365
    assert examples_needed(0.80, truth=0.85, level=0.9, power=0.9) == 501
    assert share_power(500, low=0.85, high=0.95, truth=0.90, level=0.9) == pytest.approx(0.95, abs=0.01)


def test_at_the_border_power_is_the_size_of_the_test():
    assert t_power(4, low=0.0, high=math.inf, truth=0.0, sd=1.0, level=0.9) == pytest.approx(0.05, abs=1e-3)
    assert share_power(400, low=0.8, high=1.0, truth=0.8, level=0.9) <= 0.05


@given(st.floats(0.001, 1.0), st.floats(0.001, 1.0), st.integers(1, 20))
def test_advice_is_the_least_number_that_would_do(distance, sd, have):
    n = units_to_decide(distance, sd=sd, level=0.9, have=have, most=5000)
    if n is None:
        assert t_half_width(sd=sd, n=5000, level=0.9) >= distance
    else:
        assert n > have
        assert t_half_width(sd=sd, n=n, level=0.9) < distance
        assert n == max(2, have + 1) or t_half_width(sd=sd, n=n - 1, level=0.9) >= distance


@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_decidable_distance_has_the_promised_power(n):
    d = decidable_sd(n, level=0.9, power=0.8)
    rng = np.random.default_rng(1)
    x = rng.normal(d, 1.0, (4000, n))
    low = x.mean(1) - stats.t.ppf(0.95, n - 1) * x.std(1, ddof=1) / math.sqrt(n)
    assert (low > 0).mean() == pytest.approx(0.8, abs=0.03)
