import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leonids.claims.judge import judge
from leonids.claims.prediction import Beyond
from leonids.errors import SpecError

WORDS = {"not_due", "supported", "refuted", "inconclusive", "void"}


def one(lab, family, prediction, *, at=None):
    return judge(family(prediction), lab, at=at)[0]


@pytest.fixture
def seeded(lab):
    """Arm ``a`` with the given final match of each seed, of 500 examples."""

    def of(*rights, n=500, **facts):
        evidence = lab()
        for seed, right in enumerate(rights):
            evidence.review(evidence.run("a", seed, **facts), lab.matches(right, n))
        return evidence

    return of


def test_seeds_whose_differences_are_equal_up_to_rounding_claim_no_certainty(lab, make, family):
    """Both pairs differ by one answer of 24; the two differences are not the same in their last bit."""
    world = lab()
    for seed, right in enumerate((9, 7)):
        world.review(world.run("a", seed), world.matches(right + 1, 24))
        world.review(world.run("b", seed), world.matches(right, 24))
    (found,) = judge(family(make(versus="b", expect={"above": -0.05})), world, at=None)
    assert found.word == "inconclusive"
    assert found.high - found.low > 0.2


def test_seeds_that_agree_far_inside_the_claim_support_it(seeded, family, make):
    verdict = one(seeded(450, 452, 448), family, make(expect={"above": 0.8}))
    assert (verdict.word, verdict.n, verdict.unit, verdict.scope) == ("supported", 3, "seeds", "seeds")
    assert verdict.low > 0.8
    assert verdict.level == pytest.approx(0.9)


def test_seeds_that_agree_far_outside_the_claim_refute_it(seeded, family, make):
    verdict = one(seeded(300, 302, 298), family, make(expect={"above": 0.8}))
    assert verdict.word == "refuted"
    assert verdict.high < 0.8
    assert "below" in verdict.reason


def test_one_run_never_speaks_for_the_recipe(seeded, family, make):
    verdict = one(seeded(500), family, make(expect={"above": 0.5}))
    assert verdict.word == "inconclusive"
    assert verdict.reason == "one run cannot speak for the recipe"
    assert verdict.decides == "at least 1 more seed"
    assert (verdict.estimate, verdict.low, verdict.high) == (1.0, None, None)


def test_one_run_speaks_for_itself_with_its_examples_as_units(seeded, family, make):
    verdict = one(seeded(450), family, make(expect={"above": 0.8}, scope="run"))
    assert (verdict.word, verdict.n, verdict.unit, verdict.scope) == ("supported", 500, "examples", "run")


def test_an_interval_across_the_border_is_inconclusive_and_says_what_would_decide(seeded, family, make):
    verdict = one(seeded(420, 400, 440), family, make(expect={"above": 0.82}))
    assert verdict.word == "inconclusive"
    assert "straddles" in verdict.reason
    assert verdict.decides.startswith("about ")
    assert verdict.decides.endswith("more seeds")


def test_a_miss_on_a_silent_side_does_not_refute(seeded, family, make):
    beyond = Beyond(below="silent", above="refutes")
    low = one(seeded(300, 301), family, make(expect={"between": (0.8, 0.9)}, beyond=beyond))
    high = one(seeded(495, 496), family, make(expect={"between": (0.8, 0.9)}, beyond=beyond))
    assert low.word == "inconclusive"
    assert "says nothing" in low.reason
    assert "leaves a miss open" in low.decides
    assert high.word == "refuted"


def test_a_miss_on_a_side_that_supports_supports(seeded, family, make):
    beyond = Beyond(below="refutes", above="supports")
    assert one(seeded(495, 496), family, make(expect={"between": (0.8, 0.9)}, beyond=beyond)).word == "supported"


def test_seeds_that_all_reach_100_percent_still_leave_doubt(seeded, family, make):
    verdict = one(seeded(500, 500), family, make(expect={"above": 0.9}))
    assert verdict.word == "supported"
    assert verdict.low < 1.0
    assert one(seeded(500, 500), family, make(expect={"above": 0.999})).word == "inconclusive"


def test_unplanned_runs_do_not_count(seeded, lab, family, make):
    evidence = seeded(450, 452)
    evidence.review(evidence.run("a", 9, planned=False), lab.matches(10, 500))
    verdict = one(evidence, family, make(expect={"above": 0.8}))
    assert verdict.n == 2
    assert verdict.estimate == pytest.approx(0.902)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"broken": True}, "not what was written"),
        ({"done": 120}, "never measured"),
        ({"changed": "match was locked in version 1, run r has version 2"}, "metric changed: match was locked"),
    ],
)
def test_a_closed_study_voids_what_cannot_be_judged_as_registered(seeded, family, make, facts, reason):
    verdict = one(seeded(450, 452, **facts), family, make(expect={"above": 0.8}))
    assert verdict.word == "void"
    assert reason in verdict.reason


def test_an_arm_that_was_not_run_is_void_when_the_study_is_closed_and_waits_while_it_is_open(lab, family, make):
    prediction = make(expect={"above": 0.8}, when={"at": 0.3})
    closed, open_ = one(lab(), family, prediction), one(lab(), family, prediction, at=1.0)
    assert (closed.word, open_.word) == ("void", "not_due")
    assert "was not run" in closed.reason
    assert "has not begun" in open_.reason


def test_a_missing_review_is_void_with_its_place(lab, family, make):
    evidence = lab()
    evidence.run("a", 0)
    evidence.run("a", 1)
    verdict = one(evidence, family, make(expect={"above": 0.8}, when={"at": 0.3}))
    assert verdict.word == "void"
    assert "match of run a-s0 on validation in steps 60 to 60" in verdict.reason


def test_a_number_that_is_not_finite_voids(lab, family, make):
    evidence = lab()
    for seed in (0, 1):
        values = np.full(200, 0.7)
        values[190] = math.nan if seed else 0.7
        evidence.stream(evidence.run("a", seed), values)
    verdict = one(evidence, family, make(metric="loss", split="train", expect={"below": 1.0}))
    assert verdict.word == "void"
    assert "not finite" in verdict.reason


def test_nothing_is_judged_before_it_is_due_but_the_interval_so_far_is_shown(lab, family, make):
    evidence = lab()
    for seed in (0, 1):
        evidence.review(evidence.run("a", seed, done=70), lab.matches(400 + seed, 500), step=60)
    verdict = one(evidence, family, make(expect={"above": 0.5}), at=0.3)
    assert verdict.word == "not_due"
    assert verdict.reason == "due at 100%"
    assert verdict.estimate == pytest.approx(0.801)
    assert verdict.low is not None


def test_the_weakest_grade_of_the_runs_stands_beside_the_verdict(lab, family, make):
    evidence = lab()
    for seed, grade in enumerate(("anchored", "sealed")):
        evidence.review(evidence.run("a", seed, grade=grade), lab.matches(450 + seed, 500))
    assert one(evidence, family, make(expect={"above": 0.8})).grade == "sealed"


def test_data_seen_before_the_lock_make_a_retrodiction(seeded, family, make):
    verdict = one(seeded(450, 452, seen_steps=200), family, make(expect={"above": 0.8}))
    assert (verdict.word, verdict.grade) == ("supported", "late")


def test_only_steps_after_the_watermark_count(lab, family, make):
    evidence = lab()
    for seed in (0, 1):
        values = np.r_[np.full(100, 9.0), np.full(100, 0.5)] + 0.001 * np.sin(np.arange(200) + seed)
        evidence.stream(evidence.run("a", seed, seen_steps=100), values)
    prediction = make(metric="loss", split="train", expect={"below": 0.6}, when={"over": (0.25, 1.0)})
    verdict = one(evidence, family, prediction)
    assert (verdict.word, verdict.grade) == ("supported", "sealed")


def test_arms_are_compared_seed_by_seed(lab, family, make):
    evidence = lab()
    for seed in range(3):
        hard = 0.5 + 0.4 * seed  # seeds differ far more than arms do
        evidence.stream(evidence.run("a", seed), np.full(200, hard) + 0.001 * seed)
        evidence.stream(evidence.run("b", seed), np.full(200, hard + 0.05))
    prediction = make(metric="loss", split="train", versus="b", expect={"differs": 0.02})
    verdict = one(evidence, family, prediction)
    assert verdict.word == "supported"
    assert verdict.n == 3
    assert verdict.high < -0.02
    assert verdict.level == pytest.approx(0.95)  # two ways to be right by luck


def test_one_runs_examples_are_paired_with_the_same_examples_of_the_other(lab, family, make):
    rng = np.random.default_rng(5)
    tokens, base = rng.integers(5, 30, 400), rng.normal(3.0, 2.0, 400)
    evidence = lab()
    for arm, shift in (("a", 0.0), ("b", 0.05)):
        totals = (base + shift + rng.normal(0, 0.05, 400)) * tokens
        evidence.review(evidence.run(arm, 0), totals, metric="loss", counts=tokens)
    verdict = one(evidence, family, make(metric="loss", versus="b", scope="run", expect={"below": -0.03}))
    assert verdict.word == "supported"
    assert verdict.high - verdict.low < 0.03


def test_a_premise_that_fails_voids_and_one_that_is_open_leaves_open(seeded, family, make):
    def words(threshold):
        premise, claim = make("A", expect={"above": threshold}), make("B", expect={"above": 0.5}, needs=("A",))
        return [v.word for v in judge(family(premise, claim), seeded(400, 402, 404), at=None)]

    assert words(0.7) == ["supported", "supported"]
    assert words(0.95) == ["refuted", "void"]
    assert words(0.803) == ["inconclusive", "inconclusive"]


def test_premises_reach_across_hypotheses(seeded, family, make):
    first = family(make("A", expect={"above": 0.95}))["H"]
    second = family(make("B", expect={"above": 0.5}, needs=("A",)))["H"]
    verdicts = judge({"two": second, "one": first}, seeded(400, 402, 404), at=None)
    assert [(v.prediction, v.word) for v in verdicts] == [("B", "void"), ("A", "refuted")]


def test_a_circle_of_premises_is_refused(seeded, family, make):
    study = family(make("A", expect={"above": 0.5}, needs=("B",)), make("B", expect={"above": 0.5}, needs=("A",)))
    with pytest.raises(SpecError, match="circle"):
        judge(study, seeded(400, 402), at=None)


def test_more_claims_in_a_family_ask_more_of_each(seeded, family, make):
    evidence = seeded(420, 424, 428)
    alone = judge(family(make("A", expect={"above": 0.83})), evidence, at=None)[0]
    others = [make(f"B{i}", expect={"above": 0.848}) for i in range(5)]
    among = judge(family(make("A", expect={"above": 0.83}), *others), evidence, at=None)[0]
    assert (alone.word, among.word) == ("supported", "inconclusive")
    assert "decides alone" in among.reason
    assert among.level > alone.level


@given(st.lists(st.integers(0, 500), min_size=1, max_size=4), st.floats(0.01, 0.99), st.sampled_from(["seeds", "run"]))
def test_every_verdict_is_one_word_with_its_reason_and_agrees_with_its_interval(lab, family, make, rights, t, scope):
    evidence = lab()
    for seed, right in enumerate(rights):
        evidence.review(evidence.run("a", seed), lab.matches(right, 500))
    verdict = one(evidence, family, make(expect={"above": t}, scope=scope))
    assert verdict.word in WORDS
    assert verdict.reason or verdict.word == "supported"
    assert (verdict.word == "supported") == (verdict.low is not None and verdict.low > t)
    assert (verdict.word == "refuted") == (verdict.high is not None and verdict.high <= t)
    assert (verdict.word == "inconclusive") == bool(verdict.decides)


@given(st.permutations(range(4)), st.integers(1, 4))
def test_predictions_that_fall_due_later_never_take_a_verdict_back(lab, family, make, order, reviews):
    """Each review adds data of its own; verdicts of earlier reviews stand."""
    rights = np.array([[430, 432, 434], [380, 420, 460], [300, 302, 304], [450, 452, 454]])[list(order)]
    evidence = lab()
    for seed in range(3):
        run = evidence.run("a", seed)
        for i in range(4):
            evidence.review(run, lab.matches(rights[i][seed], 500), step=50 * (i + 1))
    study = family(*(make(f"P{i}", expect={"above": 0.8}, when={"at": 0.25 * (i + 1)}) for i in range(4)))
    before = {v.prediction: v.word for v in judge(study, evidence, at=0.25 * reviews)}
    after = {v.prediction: v.word for v in judge(study, evidence, at=None)}
    decided = {name: word for name, word in before.items() if word in ("supported", "refuted")}
    assert decided.items() <= after.items()
