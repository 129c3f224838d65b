"""Curves: equivalence is granted only where curves are close, and a kink is found only where there is one."""

import numpy as np
import pytest


def power_law(lab, *, seeds, rng, noise=0.05, spread=0.02):
    """Loss with no kink: a power law above a floor, its level differing from seed to seed; ``[seeds, STEPS]``."""
    t = np.arange(1, lab.steps + 1)
    exponent = rng.uniform(0.1, 0.6, (seeds, 1))
    curve = 0.3 + 1.2 * t ** (-exponent) + spread * rng.normal(size=(seeds, 1))
    return curve + noise * rng.normal(size=(seeds, lab.steps))


def kinked(lab, *, seeds, rng, drop, noise=0.05):
    """Flat until 30 %, then falling by ``drop`` until 45 %."""
    t = np.arange(1, lab.steps + 1) / lab.steps
    curve = 0.75 - drop * np.clip((t - 0.30) / 0.15, 0, 1)
    return curve + noise * rng.normal(size=(seeds, lab.steps))


BEND = {"split": "train", "when": {"over": (0.15, 0.45)}, "expect": {"falls_after": {"progress": 0.30, "by": 0.0}}}


def bend(lab, *, by=0.0, scope="seeds"):
    from leonids.claims.prediction import FallsAfter

    return lab.claim("K", **{**BEND, "expect": {"falls_after": FallsAfter(progress=0.30, by=by)}}, scope=scope)


def rate(lab, claim, draw, word, draws=400):
    return np.mean([lab.words(draw(), claim) == [word] for _ in range(draws)])


def test_a_power_law_without_a_kink_never_falls_after_30_percent_more_often_than_alpha(lab):
    rng = np.random.default_rng(23)
    for scope, seeds in (("seeds", 3), ("run", 1)):
        found = rate(
            lab, bend(lab, scope=scope), lambda n=seeds: lab.world(curves={"a": power_law(lab, seeds=n, rng=rng)}),
            "supported",
        )  # fmt: skip
        assert found <= lab.allowed(0.05, 400)


def test_a_straight_line_the_worst_case_is_called_a_kink_at_most_alpha_of_the_time(lab):
    rng = np.random.default_rng(29)
    t = np.arange(1, lab.steps + 1) / lab.steps

    def line():
        return lab.world(curves={"a": 1.0 - 0.5 * t + 0.05 * rng.normal(size=(3, lab.steps))})

    assert rate(lab, bend(lab), line, "supported", draws=1000) <= lab.allowed(0.05, 1000)


def test_a_planted_kink_is_found(lab):
    rng = np.random.default_rng(31)
    worlds = [lab.world(curves={"a": kinked(lab, seeds=3, rng=rng, drop=0.2)}) for _ in range(100)]
    assert np.mean([lab.words(w, bend(lab, by=0.05)) == ["supported"] for w in worlds]) > 0.95


# The fall is 2.5 standard errors of one run's contrast beyond the claim: the noise of a step, 0.05, times sqrt(24 / n)
# with n = 150 steps on each side, is 0.02. Power by the normal law (one run's error is known from its steps) and by the
# non-central t of the seeds; 150 draws know a share to 3 x 0.04.
@pytest.mark.parametrize(("scope", "seeds", "power"), [("run", 1, 0.80), ("seeds", 2, 0.42), ("seeds", 3, 0.85),
                                                       ("seeds", 5, 1.00)])  # fmt: skip
def test_a_planted_kink_is_found_with_the_tabled_power(lab, scope, seeds, power):
    rng = np.random.default_rng(71)
    found = rate(
        lab, bend(lab, by=0.05, scope=scope),
        lambda: lab.world(curves={"a": kinked(lab, seeds=seeds, rng=rng, drop=0.10)}), "supported", draws=150,
    )  # fmt: skip
    assert found == pytest.approx(power, abs=0.12)


def coincide(lab, margin):
    return lab.claim("C", split="train", versus="b", when={"over": (0.0, 0.5)}, expect={"coincide": margin})


def pair(lab, rng, *, gap, seeds, sigma=0.01, only_at=None):
    """Two arms on the same seeds; ``gap`` nats apart, everywhere or only in the block that holds ``only_at``."""
    base = power_law(lab, seeds=seeds, rng=rng, noise=0.0)
    shape = np.ones(lab.steps) if only_at is None else np.zeros(lab.steps)
    if only_at is not None:
        shape[int(only_at * lab.steps) : int((only_at + 0.05) * lab.steps)] = 1.0
    noise = sigma * rng.normal(size=(seeds, 20)).repeat(lab.steps // 20, axis=1)  # ten blocks in the window
    return lab.world(curves={"a": base + gap * shape + noise, "b": base})


def test_curves_that_differ_by_the_margin_in_one_place_are_called_similar_at_most_alpha_of_the_time(lab):
    rng = np.random.default_rng(37)
    claim = coincide(lab, 0.03)
    found = rate(lab, claim, lambda: pair(lab, rng, gap=0.03, seeds=10, only_at=0.2), "supported", draws=150)
    assert found <= lab.allowed(0.05, 150)


def test_curves_without_a_difference_are_called_similar_with_the_tabled_power(lab):
    """Margin of three standard deviations, ten blocks: five seeds nearly always, three seeds rarely."""
    rng = np.random.default_rng(41)
    claim = coincide(lab, 0.03)
    five = rate(lab, claim, lambda: pair(lab, rng, gap=0.0, seeds=5), "supported", draws=150)
    three = rate(lab, claim, lambda: pair(lab, rng, gap=0.0, seeds=3), "supported", draws=150)
    assert five > 0.75
    assert three < 0.5


def test_curves_that_differ_everywhere_are_refuted_not_left_open(lab):
    rng = np.random.default_rng(43)
    found = rate(lab, coincide(lab, 0.03), lambda: pair(lab, rng, gap=0.2, seeds=5), "refuted", draws=100)
    assert found > 0.95


def test_a_few_noisy_seeds_never_make_curves_similar(lab):
    """Absence of evidence: with noise as large as the margin, overlap of intervals would say "similar" at once."""
    rng = np.random.default_rng(47)
    claim = coincide(lab, 0.03)
    found = rate(lab, claim, lambda: pair(lab, rng, gap=0.03, seeds=3, sigma=0.06), "supported", draws=150)
    assert found <= 0.02
