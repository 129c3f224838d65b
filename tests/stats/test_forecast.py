import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from leonids.stats.forecast import LEAST_RUNS, prediction_band

NOTHING = np.zeros(6)


def worlds(n, *, points=6, times=4000, own=0.5):
    """Curves of n finished runs and one more, [times, n + 1, points]: a shared shift a run plus own noise a point."""
    rng = np.random.default_rng(n)
    shift = rng.normal(size=(times, n + 1, 1))
    return shift + own * rng.normal(size=(times, n + 1, points))


@pytest.mark.parametrize("n", [LEAST_RUNS, 5, 10])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_the_whole_curve_of_one_more_run_lies_inside_as_often_as_promised(n, level):
    inside = 0
    drawn = worlds(n)
    for runs in drawn:
        low, high = prediction_band(runs[:n], level=level, errors=NOTHING)
        inside += bool(np.all((low <= runs[n]) & (runs[n] <= high)))
    # The promise is refuted only if so few inside would be rarer than 1 in 10,000 at the level itself.
    assert stats.binom.cdf(inside, len(drawn), level) > 1e-4


def test_a_run_of_another_kind_is_found_outside():
    drawn = worlds(5, own=0.1)
    outside = 0
    for runs in drawn[:500]:
        low, high = prediction_band(runs[:5], level=0.95, errors=NOTHING)
        strange = runs[5] + 12.0
        outside += bool(np.any((strange < low) | (high < strange)))
    assert outside > 450


@given(st.integers(LEAST_RUNS, 12), st.floats(0.55, 0.98), st.floats(0.0, 2.0))
def test_a_band_is_no_narrower_at_a_higher_level_or_with_more_doubt_in_each_run(n, level, error):
    runs = worlds(n, times=1)[0][:n]
    low, high = prediction_band(runs, level=level, errors=NOTHING)
    for other in (
        prediction_band(runs, level=(1 + level) / 2, errors=NOTHING),
        prediction_band(runs, level=level, errors=np.full(6, error)),
    ):
        assert np.all(other[0] <= low)
        assert np.all(high <= other[1])


def test_runs_that_all_agree_leave_the_doubt_of_their_own_examples():
    low, high = prediction_band(np.ones((5, 6)), level=0.95, errors=np.full(6, 0.01))
    assert np.all(high - low > 0.02)
