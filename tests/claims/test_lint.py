import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from leonids.claims.lint import CHECKS, lint, refused
from leonids.claims.pairs import PAIR_CHECKS
from leonids.claims.prediction import Beyond, FallsAfter, Prediction, Ratio, Rival, Then
from leonids.claims.setting import ArmFacts, Setting
from leonids.errors import SpecError

BOTH = Beyond(below="refutes", above="refutes")
WRITTEN = Then(refuted="look again")


def arm(**changes):
    return ArmFacts(**{"seeds": (0, 1, 2), "rank": 128, "alpha_rule": "equal", "schedule": "constant", **changes})


def setting(**changes):
    arms = changes.pop("arms", {"a": arm(), "b": arm(), "c": arm()})
    return Setting(**{"arms": arms, "reviews": (0.15, 0.3, 0.6, 1.0), **changes})


@pytest.fixture
def find(make, family):
    def of(*claims, known=None):
        predictions = [make(**{"id": f"P{i}", "then": WRITTEN, **c}) for i, c in enumerate(claims)]
        return {(f.check, f.severity) for f in lint(family(*predictions), known or setting())}

    return of


def test_a_sound_claim_is_left_alone(find):
    assert find({"expect": {"between": (0.8, 0.95)}, "beyond": BOTH}) == set()


CASES = [
    ("already seen", "warn", {"expect": {"above": 0.5}, "when": {"at": 0.15}}, {"a": arm(seen_frac=0.157)}),
    ("impossible or vacuous", "refuse", {"expect": {"above": 0.9}}, {"ceilings": {("a", "match"): 0.85}}),
    ("impossible or vacuous", "refuse", {"expect": {"below": 0.9}}, {"ceilings": {("a", "match"): 0.85}}),
    ("impossible or vacuous", "refuse", {"metric": "loss", "expect": {"below": 0.6}},
     {"floors": {("a", "answer"): 0.7}}),
    ("impossible or vacuous", "refuse", {"metric": "loss", "expect": {"above": 0.6}},
     {"floors": {("a", "answer"): 0.7}}),
    ("impossible or vacuous", "refuse", {"expect": {"between": (0.0, 1.0)}, "beyond": BOTH}, {}),
    ("impossible or vacuous", "refuse", {"metric": "excess", "expect": {"below": -0.1}}, {}),
    ("too easy", "warn", {"metric": "loss", "expect": {"below": 2.0}}, {"easy": {("a", "answer"): 0.9}}),
    ("too easy", "warn", {"metric": "loss", "expect": {"plateaus": 0.6}, "when": {"over": (0.15, 0.6)}},
     {"easy": {("a", "answer"): 0.9}, "floors": {("a", "answer"): 0.4}}),
    ("too easy", "warn", {"expect": {"above": 0.05}}, {"guess": {("a", "match"): 0.12}}),
    ("grid", "refuse",
     {"metric": "loss", "split": "train", "versus": "b", "expect": {"coincide": 0.1}, "when": {"over": (0.15, 0.3)}},
     {"a": arm(steps=60), "b": arm(steps=60)}),
    ("grid", "refuse", {"metric": "loss", "expect": {"falls_after": FallsAfter(progress=0.5, by=0.1)},
     "when": {"over": (0.15, 0.6)}}, {"a": arm(steps=600)}),
    ("grid", "refuse", {"metric": "loss", "split": "train", "expect": {"plateaus": 0.1}, "when": {"over": (0.1, 0.2)}},
     {"a": arm(steps=20)}),
    ("kill", "warn", {"expect": {"above": 0.5}, "kill": True}, {}),
    ("never measured", "refuse", {"expect": {"above": 0.5}, "when": {"at": 0.4}}, {}),
    ("never measured", "refuse", {"expect": {"above": 0.5}, "when": {"at": 0.3}, "split": "test"}, {}),
    ("never measured", "warn", {"expect": {"above": 0.5}, "split": "transfer:deeper"}, {}),
    ("seeds", "refuse", {"expect": {"above": 0.5}}, {"a": arm(seeds=(0,))}),
    ("seeds", "refuse", {"expect": {"above": 0.5}, "seed": 9, "scope": "run"}, {}),
    ("seeds", "warn", {"expect": {"above": 0.5}, "scope": "run"}, {}),
    ("power", "warn", {"expect": {"between": (0.85, 0.9)}, "beyond": BOTH, "scope": "run", "seed": 0}, {}),
    ("power", "warn", {"expect": {"between": (0.85, 0.9)}, "beyond": BOTH}, {"pilot_sd": {"match": 0.05}}),
    ("alpha rule", "warn", {"expect": {"differs": 0.1}, "versus": "b"},
     {"a": arm(alpha_rule="fixed"), "b": arm(rank=8, alpha_rule="fixed")}),
    ("schedule", "warn",
     {"metric": "loss", "split": "train", "when": {"over": (0.15, 0.45)},
      "expect": {"falls_after": FallsAfter(progress=0.3, by=0.05)}}, {"a": arm(schedule="cosine")}),
    ("rival", "warn", {"expect": {"above": 0.5}, "rivals": (Rival(says="the schedule", about="schedule"),)}, {}),
    ("rival", "refuse", {"expect": {"above": 0.5}, "rivals": (Rival(says="x", arm="nowhere"),)}, {}),
    ("rival", "warn", {"expect": {"above": 0.5}, "rivals": (Rival(says="x", arm="z"),)}, {"left_out": frozenset("z")}),
    ("no branch", "warn", {"expect": {"above": 0.5}, "then": Then()}, {}),
    ("prompt in the loss", "warn", {"metric": "loss", "tokens": "all", "expect": {"below": 0.8}},
     {"floors": {("a", "all"): 0.72}}),
    ("computed", "warn", {"metric": "floor", "expect": {"below": 0.8}}, {}),
    ("no floor", "refuse", {"metric": "excess", "expect": {"below": 0.8}, "split": "transfer:gym"},
     {"splits": ("validation", "transfer:gym")}),
    ("no contrast", "warn", {"expect": {"coincide": 0.05}, "versus": "b"}, {}),
]  # fmt: skip


def known_of(changes):
    arms = {name: changes[name] for name in ("a", "b") if name in changes}
    rest = {name: value for name, value in changes.items() if name not in arms}
    return setting(arms={"a": arm(), "b": arm(), "c": arm(), **arms}, **rest)


@pytest.mark.parametrize(("check", "severity", "claim", "changes"), CASES)
def test_each_flaw_is_found_by_its_check(find, check, severity, claim, changes):
    assert (check, severity) in find(claim, known=known_of(changes))


def test_every_check_has_a_flaw_that_it_finds():
    assert {name for name, _ in CHECKS} <= {case[0] for case in CASES}
    assert {name for name, _ in PAIR_CHECKS} == {"contradiction", "tension", "order in time", "premise"}


def test_a_named_rival_with_its_arm_answers_the_warning(find):
    ranks = {"a": arm(alpha_rule="fixed"), "b": arm(rank=8, alpha_rule="fixed")}
    rival = Rival(says="the scale", about="alpha", arm="c")
    found = find({"expect": {"differs": 0.1}, "versus": "b", "rivals": (rival,)}, known=known_of(ranks))
    assert found == set()


def test_a_claim_that_reading_the_prompt_can_decide_is_not_called_easy(find):
    known = setting(easy={("a", "answer"): 0.9}, floors={("a", "answer"): 0.2})
    assert find({"metric": "loss", "expect": {"below": 0.5}}, known=known) == set()
    flat = {"metric": "loss", "expect": {"plateaus": 0.1}, "when": {"over": (0.15, 0.6)}}
    assert find(flat, known=known) == set()


def test_floors_and_ceilings_of_training_say_nothing_of_another_split(find):
    split = {"split": "transfer:gym", "when": {"at": 1.0}}
    known = setting(
        ceilings={("a", "match"): 0.85},
        floors={("a", "answer"): 0.7, ("a", "all"): 0.7},
        easy={("a", "answer"): 0.9},
        guess={("a", "match"): 0.95},
        splits=("validation", "transfer:gym"),
    )
    assert find({"expect": {"above": 0.9}, **split}, known=known) == set()
    assert find({"metric": "loss", "expect": {"below": 0.6}, **split}, known=known) == set()
    assert find({"metric": "loss", "tokens": "all", "expect": {"below": 0.8}, **split}, known=known) == set()


def test_a_curve_whose_window_holds_the_points_asked_for_and_levels_that_go_the_usual_way_are_left_alone(find):
    known = known_of({"a": arm(steps=600), "b": arm(steps=600)})
    window = {"metric": "loss", "split": "train", "when": {"over": (0.15, 0.3)}}
    assert ("grid", "refuse") not in find({**window, "versus": "b", "expect": {"coincide": 0.1}}, known=known)
    assert find({**window, "expect": {"plateaus": 0.1}}, known=known) == set()
    levels = {"expect": {"above": 0.5}, "when": {"at": 0.3}}, {"expect": {"between": (0.7, 0.9)}, "beyond": BOTH}
    assert find(*levels, known=setting(guess={("a", "match"): 0.12})) == set()


def test_a_kill_may_end_what_another_trainer_trains(find):
    assert find({"expect": {"above": 0.5}, "kill": True}, known=setting(arms={"a": arm(foreign=True)})) == set()


def test_a_claim_that_falls_due_after_the_end_is_refused(make):
    with pytest.raises(SpecError, match="goes from 0% to 100%"):
        make(expect={"above": 0.5}, when={"at": 1.2})


PAIRS = [
    ("contradiction", "refuse", {"expect": {"above": 0.7}}, {"expect": {"below": 0.6}}),
    ("contradiction", "refuse", {"expect": {"differs": 0.1}, "versus": "b"},
     {"expect": {"coincide": 0.05}, "arm": "b", "versus": "a"}),
    ("tension", "refuse", {"metric": "loss", "expect": {"between": (0.1, 0.2)}, "beyond": BOTH},
     {"metric": "gold_confidence", "expect": {"between": (0.5, 0.7)}, "beyond": BOTH}),
    ("tension", "warn", {"metric": "loss", "expect": {"between": (0.15, 0.25)}, "beyond": BOTH},
     {"metric": "confidence", "expect": {"between": (0.90, 0.99)}, "beyond": BOTH}),
    ("tension", "warn", {"metric": "loss", "expect": {"between": (0.3, 0.4)}, "beyond": BOTH},
     {"metric": "confidence", "expect": {"between": (0.7, 0.9)}, "beyond": BOTH}),
    ("order in time", "warn", {"metric": "loss", "expect": {"below": 0.3}, "when": {"at": 0.3}},
     {"metric": "loss", "expect": {"above": 0.4}, "when": {"at": 0.6}}),
    ("order in time", "warn", {"expect": {"above": 0.8}, "when": {"at": 0.3}}, {"expect": {"below": 0.7}}),
    ("premise", "warn", {"expect": {"above": 0.5}}, {"expect": {"above": 0.4}, "when": {"at": 0.3}, "needs": ("P0",)}),
]  # fmt: skip


@pytest.mark.parametrize(("check", "severity", "first", "second"), PAIRS)
def test_claims_that_pull_against_each_other_are_found_in_either_order(find, check, severity, first, second):
    named = [{**first, "id": "P0"}, {**second, "id": "P1"}]
    for claims in (named, named[::-1]):
        assert (check, severity) in find(*claims)


def test_levels_too_far_apart_for_a_plateau_are_found(find):
    flat = {"expect": {"plateaus": 0.05}, "when": {"over": (0.15, 1.0)}}
    early = {"expect": {"between": (0.5, 0.7)}, "beyond": BOTH, "when": {"at": 0.3}}
    late = {"expect": {"between": (0.85, 0.95)}, "beyond": BOTH}
    assert ("contradiction", "refuse") in find(flat, early, late)
    assert ("contradiction", "refuse") not in find({**flat, "when": {"over": (0.15, 0.6)}}, early, late)
    # Exactly as far apart as the margin, which binary numbers hide.
    apart = [{**early, "expect": {"between": (0.5, 0.6)}}, {**late, "expect": {"between": (0.7, 0.8)}}]
    assert ("contradiction", "refuse") in find({**flat, "expect": {"plateaus": 0.1}}, *apart)


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99), st.floats(0.001, 3.0))
def test_no_loss_and_confidence_that_real_tokens_can_have_is_called_impossible(make, family, p, q, share):
    """Any mix of two kinds of tokens has a mean loss and a mean confidence: claims around both can hold."""
    weight = share / (1 + share)
    confidence = weight * p + (1 - weight) * q
    loss = -weight * math.log(p) - (1 - weight) * math.log(q)
    claims = [
        make("L", metric="loss", expect={"between": (loss - 1e-6, loss + 1e-6)}, beyond=BOTH, then=WRITTEN),
        make("C", metric="gold_confidence", expect={"between": (confidence - 1e-6, confidence + 1e-6)}, beyond=BOTH),
    ]
    assert not any(f.check == "tension" and f.refuses for f in lint(family(*claims), setting()))


def test_a_finding_says_place_problem_and_fix_in_one_line(make, family):
    found = lint(family(make(expect={"above": 0.9}, then=WRITTEN)), setting(ceilings={("a", "match"): 0.85}))
    assert len(found) == 1
    assert str(found[0]).startswith("refuse P [impossible or vacuous]: match cannot be above 0.85")
    assert "\n" not in str(found[0])
    assert json.loads(json.dumps(found[0].to_json()))["severity"] == "refuse"


def test_what_the_records_refuse_is_a_finding_too():
    measure = {"metric": "match", "arm": "a", "final": True}
    draft = {"id": "H1", "says": "Transfer should work well.", "measure": measure, "expect": {}}
    with pytest.raises(SpecError) as error:
        TypeAdapter(Prediction).validate_json(json.dumps(draft))
    finding = refused("H1", error.value)
    assert finding.refuses
    assert "exactly one predicate" in finding.says


def test_the_log_that_began_all_this_is_found_wanting(find):
    """An observation log of one run at 15.7 %, written down word for word: each known flaw has its finding."""
    arms = {
        "a": arm(seeds=(0,), schedule="linear", alpha_rule="fixed", seen_frac=0.1572),
        "b": arm(seeds=(0,), schedule="linear", alpha_rule="fixed", rank=32),
    }
    floors = {("a", "all"): 0.70}
    log = [
        {"metric": "loss", "tokens": "all", "versus": "b", "when": {"at": 0.15}, "expect": {"coincide": 0.03}},
        {"expect": {"between": (0.85, 0.95)}, "beyond": BOTH},
        {"expect": {"plateaus": 0.05}, "when": {"over": (0.15, 1.0)}},
        {"expect": {"between": (0.50, 0.70)}, "beyond": BOTH, "when": {"at": 0.3}},
        {"expect": {"between": (0.70, 0.80)}, "beyond": BOTH, "when": {"at": 0.6}},
        {"metric": "loss", "tokens": "all", "split": "train", "when": {"over": (0.15, 0.45)},
         "expect": {"falls_after": FallsAfter(progress=0.3, by=0.05)}},
        {"metric": "loss", "tokens": "all", "expect": {"between": (0.15, 0.25)}, "beyond": BOTH},
        {"metric": "confidence", "tokens": "all", "expect": {"between": (0.90, 0.99)}, "beyond": BOTH},
        {"metric": "loss", "versus": "b", "expect": {"ratio": Ratio(above=1.0)}},
    ]  # fmt: skip
    found = {
        check
        for check, _ in find(*({**claim, "then": Then()} for claim in log), known=setting(arms=arms, floors=floors))
    }
    assert found >= {
        *("already seen", "impossible or vacuous", "seeds", "alpha rule", "schedule", "no branch"),
        *("contradiction", "tension"),
    }
