import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from leonids.stats.calibration import discrimination, smooth_error
from leonids.stats.intervals import Absent


def answers(rng, n, *, bend=1.0):
    """Confidences and outcomes; ``bend`` 1 is honest, above 1 overconfident."""
    p = rng.beta(4, 1.5, n)
    return p, (rng.random(n) < p**bend).astype(float)


@pytest.mark.parametrize("n", [200, 2000])
def test_honest_confidence_has_the_error_that_chance_gives(n):
    rng = np.random.default_rng(5)
    found = [smooth_error(*answers(rng, n)) for _ in range(40)]
    assert np.mean([f.value for f in found]) == pytest.approx(np.mean([f.null for f in found]), rel=0.15)


def test_overconfidence_stands_out_from_chance():
    found = smooth_error(*answers(np.random.default_rng(6), 2000, bend=2.5))
    assert found.value > 3 * found.null


def test_a_constant_bias_is_the_smooth_error():
    rng = np.random.default_rng(8)
    p = rng.uniform(0.3, 0.7, 20_000)
    right = (rng.random(p.size) < p + 0.2).astype(float)
    assert smooth_error(p, right).value == pytest.approx(0.2, abs=0.02)


@given(st.integers(30, 120), st.integers(30, 120), st.integers(0, 1000))
def test_discrimination_is_the_mann_whitney_share(n_right, n_wrong, seed):
    rng = np.random.default_rng(seed)
    confidence = np.round(rng.random(n_right + n_wrong), 2)
    right = np.r_[np.ones(n_right), np.zeros(n_wrong)]
    found = discrimination(confidence, right, level=0.9)
    exact = stats.mannwhitneyu(confidence[:n_right], confidence[n_right:]).statistic / (n_right * n_wrong)
    assert found.estimate == pytest.approx(exact)
    assert 0 <= found.low <= found.estimate <= found.high <= 1


def test_discrimination_covers_its_truth():
    """Right answers draw from N(1, 1), wrong ones from N(0, 1): the truth is Phi(1 / sqrt 2)."""
    rng = np.random.default_rng(9)
    truth, draws, inside = stats.norm.cdf(1 / 2**0.5), 1000, 0
    right = np.r_[np.ones(400), np.zeros(60)]
    for _ in range(draws):
        found = discrimination(rng.normal(size=460) + right, right, level=0.9)
        inside += found.low <= truth <= found.high
    assert inside / draws >= 0.9 - 3 * (0.09 / draws) ** 0.5


def test_too_few_errors_are_said_not_guessed():
    found = discrimination(np.linspace(0, 1, 500), np.r_[np.zeros(24), np.ones(476)], level=0.9)
    assert isinstance(found, Absent)
    assert found.reason == "24 wrong answers are fewer than 25"


def test_answers_that_separate_entirely_leave_doubt():
    found = discrimination(np.linspace(0, 1, 100), np.r_[np.zeros(30), np.ones(70)], level=0.9)
    assert found.estimate == found.high == 1.0
    assert 0.85 < found.low < 1.0
