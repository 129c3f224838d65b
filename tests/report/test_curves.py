import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from leonids.claims.measure import Measure
from leonids.report.curves import MOST_POINTS, Curve, series, thinned
from leonids.study.folder import StudyFolder


@given(st.integers(min_value=1, max_value=20_000), st.integers(min_value=0, max_value=2**32 - 1))
def test_thinning_keeps_every_extreme_and_invents_no_point(n: int, seed: int) -> None:
    curve = Curve(np.arange(n, dtype=float), np.random.default_rng(seed).normal(size=n))
    shown, thin = thinned(curve)
    assert shown.x.size <= MOST_POINTS
    assert thin == (n > MOST_POINTS)
    assert (shown.y.min(), shown.y.max()) == (curve.y.min(), curve.y.max())
    assert np.all(np.diff(shown.x) > 0)
    assert np.array_equal(shown.y, curve.y[shown.x.astype(int)])


def test_a_curve_is_the_pooled_value_of_each_step(whole: StudyFolder) -> None:
    run = whole.runs[0]
    curve = series(whole, run, Measure(metric="loss", arm=run.arm, final=True), split="validation")
    assert curve is not None
    assert list(curve.x) == [0, 15, 30, 60, 100]
    table = whole.streams(run.run).observations["validation"]
    pooled = table.where(table.steps == run.steps).pooled("loss", "answer")
    assert pooled is not None
    assert np.isclose(curve.y[-1], pooled[0].sum() / pooled[1].sum(), rtol=1e-12)


def test_what_was_not_measured_has_no_curve(whole: StudyFolder) -> None:
    measure = Measure(metric="meaning_match", arm="plain", final=True)
    assert series(whole, whole.runs[0], measure, split="validation") is None
