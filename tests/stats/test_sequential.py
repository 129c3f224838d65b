import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from leonids.stats.intervals import Absent, binomial_interval
from leonids.stats.sequential import mean_sequence, moving_share_sequence, share_sequence


@given(st.integers(1, 2000), st.data(), st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_the_sequence_holds_exactly_the_shares_whose_evidence_is_below_the_threshold(n, data, level):
    k = data.draw(st.integers(0, n))
    found = share_sequence(k, n, level=level)

    def evidence(p):
        mixture = special.betaln(0.5 + k, 0.5 + n - k) - special.betaln(0.5, 0.5)
        return mixture - special.xlogy(k, p) - special.xlog1py(n - k, -p)

    assert found.low <= k / n <= found.high
    for end in (found.low, found.high):
        if 1e-9 < end < 1 - 1e-9:
            assert evidence(end) == pytest.approx(-np.log(1 - level), abs=1e-3)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.83])
def test_the_evidence_has_mean_one_under_the_truth(p):
    """Exactly, by summing over all outcomes: this is what makes every look free."""
    for n in range(1, 13):
        k = np.arange(n + 1)
        mixture = np.exp(special.betaln(0.5 + k, 0.5 + n - k) - special.betaln(0.5, 0.5))
        assert float((special.comb(n, k) * mixture).sum()) == pytest.approx(1.0, abs=1e-12)
        weight = mixture / (p**k * (1 - p) ** (n - k))
        assert float((stats.binom.pmf(k, n, p) * weight).sum()) == pytest.approx(1.0, abs=1e-12)


@given(st.integers(30, 3000), st.data())
def test_being_free_to_look_costs_width(n, data):
    k = data.draw(st.integers(1, n - 1))
    once, always = binomial_interval(k, n, level=0.95), share_sequence(k, n, level=0.95)
    assert always.high - always.low > once.high - once.low


@given(st.integers(1, 100_000), st.floats(0, 1))
def test_the_moving_sequence_narrows_and_stays_a_share(n, share):
    found = moving_share_sequence(round(share * n), n, level=0.95)
    assert 0.0 <= found.low <= found.estimate <= found.high <= 1.0
    later = moving_share_sequence(round(share * 4 * n), 4 * n, level=0.95)
    assert later.high - later.low <= found.high - found.low + 2 / n


def test_too_little_data_has_no_sequence():
    assert isinstance(share_sequence(0, 0, level=0.9), Absent)
    assert isinstance(moving_share_sequence(0, 0, level=0.9), Absent)
    assert isinstance(mean_sequence(0.5, sd=0.1, n=1, level=0.9), Absent)
