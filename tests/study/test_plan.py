"""A plan is a pure function of a study and the choices made."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leonids.claims.evidence import step_at
from leonids.errors import SpecError, UsageError
from leonids.spec import StudySpec, load_study, shipped_studies, shipped_universes
from leonids.study.plan import Choices, Plan, make_plan, review_steps

REVIEWS = st.lists(st.floats(0.001, 0.999), max_size=6, unique=True).map(lambda some: [*sorted(some), 1.0])


@given(reviews=REVIEWS, steps=st.integers(1, 40_000))
def test_reviews_rise_from_the_base_itself_to_the_last_step(reviews: list[float], steps: int) -> None:
    found = review_steps(reviews, steps)
    assert found[0] == 0
    assert found[-1] == steps
    assert list(found) == sorted(set(found))
    assert {step_at(review, planned_steps=steps) for review in reviews} <= set(found)


@settings(max_examples=30)
@given(steps=st.none() | st.integers(1, 1000), arms=st.none() | st.sampled_from([("thin",), ("thin", "wide")]))
def test_choices_change_what_they_name_and_nothing_else(steps: int | None, arms: tuple[str, ...] | None) -> None:
    study = two_arms()
    plan = make_plan(study, Choices(steps=steps, arms=arms))
    plain = {run.run: run for run in make_plan(study, Choices()).runs}
    assert plan.digest == make_plan(study, Choices(steps=steps, arms=arms)).digest
    assert plan.arms == tuple(arm for arm in study.arms if arms is None or arm in arms)
    assert plan.predictions == study.predictions
    for run in plan.runs:
        assert run.steps == (steps or plain[run.run].steps)
        assert run.warmup_steps <= run.steps
        assert run.model_copy(update={"steps": 8, "reviews": plain[run.run].reviews}) == plain[run.run]


def two_arms() -> StudySpec:
    arm = {"rank": 4}
    scale = {"base": "nano", "steps": 8, "batch_size": 2, "lr": 0.01}
    data = {"study": "s", "title": "t", "arms": {"wide": arm, "thin": arm}, "seeds": [0, 1], "reviews": [0.25, 1.0]}
    return StudySpec.model_validate_json(json.dumps({**data, "scales": {"nano": scale}, "hypotheses": {}}))


def test_each_arm_runs_once_a_seed_under_a_name_of_its_own() -> None:
    assert [run.run for run in make_plan(two_arms(), Choices()).runs] == ["wide.s0", "wide.s1", "thin.s0", "thin.s1"]


def test_a_base_brings_the_scale_that_was_made_for_it(study: StudySpec) -> None:
    assert make_plan(study, Choices(base="nano")).scale == "small"
    assert make_plan(study, Choices(base="another")).scale == "nano"
    assert make_plan(study, Choices(base="another")).base == "another"
    assert make_plan(study, Choices(scale="small")).runs[0].steps == 20


def test_what_a_study_does_not_have_is_refused_with_what_it_has(study: StudySpec) -> None:
    for choices, words in (
        (Choices(arms=("wid",)), "wide, thin"),
        (Choices(arms=()), "wide, thin"),
        (Choices(scale="full"), "nano, small"),
        (Choices(steps=0), "one step or more"),
        (Choices(steps=-3), "one step or more"),
    ):
        with pytest.raises(UsageError, match=words):
            make_plan(study, choices)


def test_a_universe_in_a_file_lies_beside_the_study(study: StudySpec, tmp_path: Path) -> None:
    arms = {"wide": study.arms["wide"].model_copy(update={"universe": "mine.yaml"})}
    mine = study.model_copy(update={"arms": arms})
    with pytest.raises(SpecError, match=r"no universe 'mine\.yaml'"):
        make_plan(mine, Choices(), beside=tmp_path)


def test_the_plan_in_json_holds_the_whole_study(plan: Plan) -> None:
    text = json.loads(json.dumps(plan.to_json()))
    again = {**text["study"], "hypotheses": text["hypotheses"], "questions": text["questions"]}
    assert StudySpec.model_validate_json(json.dumps(again)) == plan.study


def test_every_shipped_study_makes_a_plan_at_every_scale() -> None:
    folder = Path(__file__).parents[2] / "studies"
    assert shipped_studies()
    for name in shipped_studies():
        study = load_study(folder / name / "study.yaml")
        for scale in study.scales:
            plan = make_plan(study, Choices(scale=scale), beside=folder / name)
            assert {run.universe.universe for run in plan.runs} <= {*shipped_universes()}


def with_transfer(*splits: str, universe: str = "consistent", speaks_of: str = "") -> Plan:
    study = json.loads(two_arms().model_dump_json())
    measure = {"metric": "match", "split": speaks_of, "arm": "wide", "seed": 0, "at": 1.0}
    prediction = {"id": "P", "says": "It carries over.", "measure": measure, "expect": {"above": 0.5}, "scope": "run"}
    study["hypotheses"] = {"H": {"claim": "c", "predictions": [prediction]}} if speaks_of else {}
    study["arms"]["wide"]["universe"] = universe
    return make_plan(StudySpec.model_validate_json(json.dumps({**study, "transfer": splits})), Choices())


def test_every_run_measures_the_transfer_splits_that_its_study_names_or_predicts() -> None:
    run = with_transfer("transfer:longer", speaks_of="transfer:deeper").runs[0]
    extra = [(split, 0, run.test_examples) for split in ("transfer:longer", "transfer:deeper")]
    n = run.review_examples
    assert run.held_out(0) == (("validation", 0, n), *extra)
    assert run.held_out(2) == (("validation", n, n),)
    assert run.held_out(1) == ()
    assert run.held_out(8) == (("validation", 2 * n, n), ("test", 0, run.test_examples), *extra)


def test_an_arm_whose_universe_lacks_a_split_does_without_it() -> None:
    plan = with_transfer("transfer:renamed", "transfer:composition", universe="stored")
    assert {run.arm: run.transfer for run in plan.runs} == {"wide": (), "thin": ("transfer:renamed",)}


def test_what_is_no_transfer_split_is_refused() -> None:
    for words, splits in (("'transfer:deepr'", ("transfer:deepr",)), ("each once", ("transfer:deeper",) * 2)):
        with pytest.raises(SpecError, match=words):
            with_transfer(*splits)
