"""A band for the next run: computed from a finished folder when a study is planned, frozen, and judged."""

import math
from pathlib import Path

import pytest

from leonids.claims.prediction import resolved
from leonids.errors import LeonidsError, SpecError
from leonids.ledger.chain import Ledger
from leonids.ledger.runs import RunWriter
from leonids.spec import StudySpec, load_study, validate
from leonids.study.conduct import judge_folder
from leonids.study.folder import StudyFolder
from leonids.study.forecast import with_bands
from leonids.study.plan import Choices, Plan, make_plan

STEPS, REVIEWED = 200, 20
WINDOW = {"metric": "loss", "tokens": "answer", "arm": "a", "over": ["30%", "100%"]}


def study(*, seeds, expect, split="validation", lr=0.01, **measure) -> StudySpec:
    prediction = {"id": "P", "says": "so", "measure": {**WINDOW, "split": split, **measure}, "expect": expect}
    data = {
        "study": "s",
        "title": "t",
        "arms": {"a": {"universe": "consistent", "rank": 4}},
        "seeds": seeds,
        "reviews": ["30%", "60%", "100%"],
        "scales": {"nano": {"base": "none", "steps": STEPS, "batch_size": 4, "lr": lr, "review_examples": REVIEWED}},
        "hypotheses": {
            "H": {"claim": "c", "predictions": [{**prediction, "scope": "run", "measure": prediction["measure"]}]}
        },
    }
    return validate(StudySpec, data, name="test")


def loss(step, *, seed, shift):
    """A falling curve; seeds differ by a hundredth, and a shift makes another kind of run."""
    return 0.3 + math.exp(-step / 15) + 0.01 * math.sin(7 * seed) + shift


def written(out: Path, plan: Plan, *, shift=0.0) -> Path:
    """What a finished study leaves, with drawn curves in place of trained ones."""
    ledger = Ledger.open(out)
    ledger.append("note", {"about": "plan", "digest": plan.digest, **plan.to_json()})
    ledger.register([resolved(prediction) for prediction in plan.predictions])
    for run in plan.runs:
        with RunWriter.create(out, run.run, {"run": run.run}, ledger) as writer:
            for step in range(run.steps + 1):
                value = loss(step, seed=run.data_seed, shift=shift)
                if step:
                    line = {"kind": "step", "split": "train", "step": step, "lr": 0.1, "wall_s": 0.1}
                    writer.steps.append({**line, "metrics": {"loss": {"end": [value * 8, 8]}}})
                for index in range(REVIEWED if step in run.reviews else 0):
                    own = 0.005 * math.sin(index + run.data_seed)
                    line = {"kind": "observation", "split": "validation", "step": step, "index": index}
                    right = int(step > 10 * (index % 7))
                    measured = {"loss": {"end": [(value + own) * 2, 2]}, "match": {"example": [right, 1]}}
                    writer.reviews.append({**line, "metrics": measured})
            writer.finish()
    return out


@pytest.fixture
def finished(tmp_path) -> Path:
    plan = make_plan(study(seeds=[0, 1, 2, 3, 4], expect={"above": 0}), Choices())
    return written(tmp_path / "finished", plan)


def planned(finished, *, seeds=(5,), **changes) -> Plan:
    return make_plan(study(seeds=list(seeds), expect={"within": {"of": str(finished)}}, **changes), Choices())


@pytest.mark.parametrize(
    ("split", "points"), [("validation", [0.3, 0.6, 1.0]), ("train", [0.44, 0.58, 0.72, 0.86, 1.0])]
)
def test_a_band_is_frozen_as_numbers_around_the_finished_curves(finished, split, points):
    plan = planned(finished, split=split, **({"points": 5} if split == "train" else {}))
    band = plan.predictions[0].expect.within
    assert list(band.at) == pytest.approx(points)
    assert (band.runs, band.lock) == (5, StudyFolder.open(finished).entries[-1].sha256)
    for at, low, high in zip(band.at, band.low, band.high, strict=True):
        start = at if split == "validation" else at - 0.14
        ends = [loss(round(STEPS * x), seed=seed, shift=0) for x in (start, at) for seed in range(5)]
        assert low < max(ends)
        assert min(ends) < high
        assert low > 0


@pytest.mark.parametrize("split", ["validation", "train"])
@pytest.mark.parametrize(("shift", "word"), [(0.0, "supported"), (0.5, "refuted"), (-0.25, "refuted")])
def test_a_further_run_is_judged_by_the_frozen_band(finished, tmp_path, split, shift, word):
    plan = planned(finished, split=split)
    out = written(tmp_path / "next", plan, shift=shift)
    finished.rename(tmp_path / "gone")
    (verdict,) = judge_folder(StudyFolder.open(out), at=None)
    assert verdict.word == word
    assert (verdict.unit, verdict.scope) == ("examples" if split == "validation" else "steps", "run")


@pytest.mark.parametrize("metric", ["loss", "match"])
def test_before_its_time_a_forecast_is_not_due_and_shows_no_number(tmp_path, metric):
    tokens = {"tokens": "example"} if metric == "match" else {}
    base = written(tmp_path / "finished", make_plan(study(seeds=[0, 1, 2], expect={"above": 0}), Choices()))
    plan = planned(base, metric=metric, **tokens)
    (verdict,) = judge_folder(StudyFolder.open(written(tmp_path / "next", plan)), at=0.6)
    assert (verdict.word, verdict.estimate) == ("not_due", None)


def test_a_frozen_band_is_read_back_equal_and_not_computed_again(finished, tmp_path):
    plan = planned(finished)
    written_out = plan.study.model_dump(mode="json", exclude={"hypotheses", "questions"})
    again = validate(StudySpec, {**written_out, "hypotheses": resolved(dict(plan.study.hypotheses))}, name="again")
    assert again.predictions == plan.predictions
    finished.rename(tmp_path / "gone")
    assert with_bands(again, plan.runs) is again


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seeds": [4, 5]}, "seed 4 is among the finished runs"),
        ({"lr": 0.02}, "differ in lr"),
    ],
)
def test_a_run_that_is_no_further_one_of_the_same_kind_is_refused(finished, changes, words):
    with pytest.raises(SpecError, match=words):
        planned(finished, **changes)


def test_too_few_finished_runs_and_no_folder_are_refused(tmp_path):
    two = written(tmp_path / "two", make_plan(study(seeds=[0, 1], expect={"above": 0}), Choices()))
    with pytest.raises(SpecError, match="2 finished runs"):
        planned(two)
    with pytest.raises(LeonidsError, match=r"holds no ledger\.jsonl"):
        planned(tmp_path / "nothing")


def test_the_shipped_forecast_is_of_the_shipped_study():
    folder = Path(__file__).parents[2] / "studies" / "consistent-universe"
    main, further = (load_study(folder / name) for name in ("study.yaml", "next.yaml"))
    assert (further.scales, further.reviews) == (main.scales, main.reviews)
    assert not set(further.seeds) & set(main.seeds)
    for name, arm in further.arms.items():
        assert arm.model_copy(update={"about": ""}) == main.arms[name].model_copy(update={"about": ""})
