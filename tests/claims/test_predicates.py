import dataclasses

import numpy as np
import pytest

from leonids.claims.judge import judge
from leonids.claims.predicates import PREDICATES
from leonids.claims.prediction import Beyond, Expect, FallsAfter, Ratio, Within

BOTH = Beyond(below="refutes", above="refutes")
T = np.arange(1, 201) / 200


def flat(level):
    return np.full(200, level)


def kink(drop):
    return 0.8 - drop * np.clip((T - 0.3) / 0.15, 0, 1)


KINK = {"expect": {"falls_after": FallsAfter(progress=0.3, by=0.05)}, "when": {"over": (0.15, 0.45)}}
HALF = {"when": {"over": (0.1, 0.9)}}

BAND = Within(of="finished", at=(0.3, 0.5, 0.7, 0.9), low=(0.6, 0.4, 0.2, 0.0), high=(1.0, 0.8, 0.6, 0.4), runs=5)

WORLDS = [
    ("between", {"expect": {"between": (0.3, 0.4)}, "beyond": BOTH}, {"a": flat(0.35)}, {"a": flat(0.5)}),
    ("above", {"expect": {"above": 0.3}}, {"a": flat(0.35)}, {"a": flat(0.25)}),
    ("below", {"expect": {"below": 0.3}}, {"a": flat(0.25)}, {"a": flat(0.35)}),
    ("differs", {"expect": {"differs": 0.1}, "versus": "b"},
     {"a": flat(0.3), "b": flat(0.6)}, {"a": flat(0.3), "b": flat(0.31)}),
    ("ratio", {"expect": {"ratio": Ratio(above=1.5)}, "versus": "b"},
     {"a": flat(0.6), "b": flat(0.3)}, {"a": flat(0.3), "b": flat(0.3)}),
    ("coincide", {"expect": {"coincide": 0.1}, "versus": "b", **HALF},
     {"a": 1 - T, "b": 1 - T + 0.02}, {"a": 1 - T, "b": 1 - 0.5 * T}),
    ("falls_after", KINK, {"a": kink(0.4)}, {"a": T**-0.5}),
    ("plateaus", {"expect": {"plateaus": 0.1}, **HALF}, {"a": flat(0.5)}, {"a": 1 - T}),
    ("order", {"expect": {"order": ("b", "a", "c")}},
     {"a": flat(0.4), "b": flat(0.3), "c": flat(0.5)}, {"a": flat(0.3), "b": flat(0.4), "c": flat(0.5)}),
    ("within", {"expect": {"within": BAND}, **HALF}, {"a": 1 - T}, {"a": 1 - 0.5 * T}),
]  # fmt: skip


def curves(lab, truth, *, seeds=4, noise=0.01):
    evidence = lab()
    rng = np.random.default_rng(3)
    for seed in range(seeds):
        shared = 0.02 * rng.normal()
        for arm, curve in truth.items():
            evidence.stream(evidence.run(arm, seed), curve + shared + noise * rng.normal(size=200))
    return evidence


def judged(lab, family, make, claim, truth, *, scope="seeds"):
    prediction = make(metric="loss", split="train", scope=scope, **claim)
    return judge(family(prediction), curves(lab, truth), at=None)[0]


def test_the_registry_and_the_schema_name_the_same_predicates():
    assert [row.name for row in PREDICATES] == [field.name for field in dataclasses.fields(Expect)]
    assert [row.name for row in PREDICATES] == [world[0] for world in WORLDS]


@pytest.mark.parametrize(("name", "claim", "true", "false"), WORLDS)
def test_every_predicate_is_supported_where_it_is_true_and_refuted_where_it_is_false(
    lab, family, make, name, claim, true, false
):
    assert judged(lab, family, make, claim, true).word == "supported"
    assert judged(lab, family, make, claim, false).word == "refuted"


@pytest.mark.parametrize(("name", "claim", "true", "false"), [w for w in WORLDS if w[0] != "ratio"])
def test_every_predicate_speaks_of_one_run_too(lab, family, make, name, claim, true, false):
    found = judged(lab, family, make, claim, true, scope="run")
    assert (found.word, found.unit) == ("supported", "steps")
    assert judged(lab, family, make, claim, false, scope="run").word == "refuted"


@pytest.mark.parametrize(("name", "claim", "true", "false"), WORLDS)
def test_no_predicate_decides_from_one_seed(lab, family, make, name, claim, true, false):
    prediction = make(metric="loss", split="train", **claim)
    for truth in (true, false):
        verdict = judge(family(prediction), curves(lab, truth, seeds=1), at=None)[0]
        assert verdict.word == "inconclusive"


def test_similar_says_the_smallest_margin_that_would_have_passed(lab, family, make):
    claim = {"expect": {"coincide": 0.1}, "versus": "b", **HALF}
    truth = {"a": 1 - T, "b": 1 - T + 0.02}
    reason = judged(lab, family, make, claim, truth).reason
    margin = float(reason.removeprefix("a margin of ").split()[0])
    assert 0.02 < margin < 0.1
    narrower = {**claim, "expect": {"coincide": margin * 0.98}}
    assert judged(lab, family, make, narrower, truth).word == "inconclusive"
    assert judged(lab, family, make, {**claim, "expect": {"coincide": margin * 1.02}}, truth).word == "supported"


def test_curves_that_part_at_one_point_are_not_similar(lab, family, make):
    bump = 0.5 * ((T > 0.5) & (T <= 0.6))
    claim = {"expect": {"coincide": 0.1}, "versus": "b", **HALF}
    verdict = judged(lab, family, make, claim, {"a": 1 - T + bump, "b": 1 - T})
    assert verdict.word == "refuted"
    assert "at 58%" in verdict.reason or "at 5" in verdict.reason


def test_curves_on_held_out_data_are_compared_at_their_reviews(lab, family, make):
    evidence = lab()
    rng = np.random.default_rng(2)
    for seed in range(4):
        for arm in ("a", "b"):
            run = evidence.run(arm, seed)
            for step in (30, 60, 100, 200):
                evidence.review(run, rng.random(500) < 0.2 + 0.003 * step, step=step)
    prediction = make(expect={"coincide": 0.15}, versus="b", when={"over": (0.15, 1.0)})
    assert judge(family(prediction), evidence, at=None)[0].word == "supported"


def test_a_window_without_a_review_is_void_with_its_place(lab, family, make):
    evidence = curves(lab, {"a": flat(0.5), "b": flat(0.5)})
    prediction = make(expect={"coincide": 0.15}, versus="b", when={"over": (0.15, 1.0)})
    verdict = judge(family(prediction), evidence, at=None)[0]
    assert verdict.word == "void"
    assert "no review" in verdict.reason


def test_a_ratio_of_values_that_are_not_positive_is_void(lab, family, make):
    verdict = judged(
        lab, family, make, {"expect": {"ratio": Ratio(below=2.0)}, "versus": "b"}, {"a": flat(-1), "b": flat(1)}
    )
    assert verdict.word == "void"
    assert "above zero" in verdict.reason


def test_a_slope_needs_more_than_one_review(lab, family, make):
    evidence = lab()
    for seed in range(3):
        evidence.review(evidence.run("a", seed), lab.matches(300, 500), step=100)
    prediction = make(expect={"plateaus": 0.1}, when={"over": (0.3, 0.9)})
    verdict = judge(family(prediction), evidence, at=None)[0]
    assert verdict.word == "void"
    assert "one review" in verdict.reason


def test_arms_without_a_seed_in_common_are_void(lab, family, make):
    evidence = lab()
    for arm, seed in (("a", 0), ("b", 1)):
        evidence.stream(evidence.run(arm, seed), flat(0.5))
    prediction = make(metric="loss", split="train", expect={"differs": 0.1}, versus="b")
    verdict = judge(family(prediction), evidence, at=None)[0]
    assert (verdict.word, verdict.reason) == ("void", "arms a and b share no seed")
