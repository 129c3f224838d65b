"""Predictions are locked before anything runs, each review is judged once, and nothing is written over."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leonids import launch as launching
from leonids.claims.metrics import metric_versions
from leonids.digest import canonical_json
from leonids.errors import BaseError, IntegrityError, MissingDependency, OutputError, SpecError
from leonids.ledger.chain import Ledger
from leonids.ledger.lines import HEAD, LEDGER, head_bytes
from leonids.ledger.verify import verify
from leonids.spec import StudySpec, load_study
from leonids.study import conduct as conducting
from leonids.study import folder as reading
from leonids.study.conduct import conduct, judge_folder, register, verdict_json
from leonids.study.folder import StudyFolder
from leonids.study.plan import Choices, Plan, make_plan
from leonids.study.rederive import differences

Contents = Callable[[Path], dict[str, bytes]]
VerdictsIn = Callable[[Path], list[Mapping[str, Any]]]


def test_predictions_are_locked_before_the_first_run_begins(plan: Plan, tmp_path: Path, train: Any, notes: Any) -> None:
    train()
    folder = conduct(plan, tmp_path / "out", resume=False, watch=notes)
    types = [entry.type for entry in folder.entries]
    assert types.index("register") < types.index("data_start")
    assert (notes.locked, notes.started_when_locked) == (1, False)
    assert {verdict["grade"] for verdict in folder.verdicts} == {"sealed"}
    assert folder.study == plan.study
    assert folder.runs == plan.runs


def test_each_review_is_judged_once_and_the_end_closes_the_study(
    plan: Plan, tmp_path: Path, train: Any, notes: Any, verdicts_in: VerdictsIn
) -> None:
    train()
    out = tmp_path / "out"
    folder = conduct(plan, out, resume=False, watch=notes)
    assert [body["at"] for body in verdicts_in(out)] == [0.25, 0.5, "end"]
    assert notes.reviews == [0.25, 0.5, 1.0]
    assert folder.closed
    assert "not_due" not in {verdict["word"] for verdict in folder.verdicts}
    assert verify(out).ok


CALIBRATION = """\
      - id: H1.5
        says: Confidence is above what comes true by a quarter or more.
        measure: {metric: overconfidence, tokens: decided, split: validation, arm: wide, seed: 0, final: true}
        expect: {above: 0.25}
        scope: run
      - id: H1.6
        says: Confidence is as far from the outcome as a coin's or nearer.
        measure: {metric: brier, split: test, arm: wide, seed: 0, final: true}
        expect: {below: 0.2}
        scope: run
questions:
"""


def test_claims_on_calibration_are_judged_over_examples(
    study_file: Path, tmp_path: Path, train: Any, notes: Any
) -> None:
    study_file.write_text(study_file.read_text().replace("questions:\n", CALIBRATION))
    train()
    folder = conduct(make_plan(load_study(study_file), Choices()), tmp_path / "out", resume=False, watch=notes)
    over, brier = (next(v for v in folder.verdicts if v["prediction"] == name) for name in ("H1.5", "H1.6"))
    # Every answer of this trainer is said with 0.9 where 0.6 are right, and its squared errors are 0.25.
    assert (over["word"], over["n"], over["unit"]) == ("supported", 12, "examples")
    assert over["estimate"] == pytest.approx(0.3)
    assert (brier["word"], brier["estimate"], brier["unit"]) == ("refuted", pytest.approx(0.25), "examples")


def test_a_finished_study_is_judged_no_more(
    plan: Plan, tmp_path: Path, train: Any, notes: Any, contents: Contents
) -> None:
    train()
    out = tmp_path / "out"
    conduct(plan, out, resume=False, watch=notes)
    before = contents(out)
    conduct(plan, out, resume=True, watch=notes)
    assert contents(out) == before


@pytest.mark.parametrize("arm", ["wide", "thin"])
def test_a_study_of_some_of_its_arms_judges_what_they_can_decide(
    arm: str, plan: Plan, tmp_path: Path, train: Any, notes: Any, verdicts_in: VerdictsIn
) -> None:
    train()
    some = make_plan(plan.study, Choices(arms=(arm,)))
    folder = conduct(some, tmp_path / "out", resume=False, watch=notes)
    void = {str(v["prediction"]) for v in folder.verdicts if v["word"] == "void"}
    assert void == {p.id for p in plan.predictions if not {*p.arms} <= {arm}}
    assert all(verdict["reason"] for verdict in folder.verdicts if verdict["word"] == "void")
    assert differences(tmp_path / "out") == []


@pytest.mark.parametrize("dies_at", [2, 4, 8])
def test_a_study_that_died_goes_on_to_the_same_verdicts(
    dies_at: int, plan: Plan, tmp_path: Path, train: Any, notes: Any, verdicts_in: VerdictsIn, Died: type[Exception]
) -> None:
    train()
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    conduct(plan, whole, resume=False, watch=notes)
    train(dies_at=dies_at)
    with pytest.raises(Died):
        conduct(plan, cut, resume=False, watch=notes)
    train()
    conduct(plan, cut, resume=True, watch=notes)
    assert verdicts_in(cut) == verdicts_in(whole)
    assert verify(cut).ok
    assert differences(cut) == []


def test_no_verdict_rests_on_lines_that_a_resume_may_cut(
    plan: Plan, tmp_path: Path, train: Any, notes: Any, verdicts_in: VerdictsIn, Died: type[Exception]
) -> None:
    only = make_plan(plan.study, Choices(arms=("wide",)))
    train(dies_at=2)
    with pytest.raises(Died):
        conduct(only, tmp_path / "out", resume=False, watch=notes)
    # The review at 25 % is in the stream, but the ledger had not sealed it.
    assert '"step":2' in (tmp_path / "out" / "wide.s0" / "reviews.jsonl").read_text()
    assert verdicts_in(tmp_path / "out") == []


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.sampled_from([0.25, 0.5, None]), end=st.integers(0, 400))
def test_judging_again_gives_the_ledgers_verdicts_byte_for_byte(finished: Path, at: float | None, end: int) -> None:
    bodies = {e.body["at"]: e for e in Ledger.open(finished).entries() if e.type == "verdict"}
    entry = bodies["end" if at is None else at]
    # However much was written after the verdict, it says the same.
    entries = StudyFolder.open(finished).entries
    folder = StudyFolder(finished, entries[: max(entry.seq, len(entries) - end)])
    again = [verdict_json(verdict) for verdict in judge_folder(folder, at=at)]
    assert canonical_json(again) == canonical_json(entry.body["verdicts"])


@pytest.fixture
def finished(plan: Plan, tmp_path: Path, train: Any, notes: Any) -> Path:
    train()
    conduct(plan, tmp_path / "finished", resume=False, watch=notes)
    return tmp_path / "finished"


def test_a_locked_study_is_judged_before_it_runs_as_not_due(plan: Plan, tmp_path: Path) -> None:
    register(plan, tmp_path / "out")
    verdicts = judge_folder(StudyFolder.open(tmp_path / "out"), at=0.0)
    assert {(verdict.word, verdict.grade) for verdict in verdicts} == {("not_due", "sealed")}


def test_a_claim_about_a_recipe_with_one_seed_is_refused_with_the_way_out(study_file: Path, tmp_path: Path) -> None:
    text = study_file.read_text()
    study_file.write_text(
        text.replace("        scope: run\n", "", 1).replace("arm: wide, seed: 0, at: 25%", "arm: wide, at: 25%")
    )
    with pytest.raises(SpecError, match=r"H1\.1: 1 seed is planned, .*plan 3 seeds or more.* scope: run"):
        register(make_plan(load_study(study_file), Choices()), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_some_arms_of_a_study_are_locked_without_the_arm_of_a_rival(study_file: Path, tmp_path: Path) -> None:
    rival = "        scope: run\n        rivals: [{says: it is the rank, arm: thin}]\n"
    study_file.write_text(study_file.read_text().replace("        scope: run\n", rival, 1))
    register(make_plan(load_study(study_file), Choices(arms=("wide",))), tmp_path / "out")
    assert (tmp_path / "out" / LEDGER).is_file()


EDITS = [
    # (what is edited after the lock, what the refusal names)
    (("below: 90%", "below: 95%"), "another prediction H1.1"),
    (("says: The two arms end alike.", "says: The two arms are twins."), "another prediction H1.3"),
    (("seeds: [0]", "seeds: [0, 1]"), "other runs"),
    (("batch_size: 2", "batch_size: 3"), "other runs"),
    (("claim: Both learn.", "claim: One learns."), "other hypotheses"),
    (("yes: go on", "yes: stop"), "other questions"),
    (("title: Do two", "title: Why do two"), "another title"),
]


@pytest.mark.parametrize(("edit", "words"), EDITS)
@pytest.mark.parametrize("resume", [False, True])
def test_what_is_edited_after_the_lock_is_refused_and_named(
    edit: tuple[str, str], words: str, resume: bool, plan: Plan, study_file: Path, tmp_path: Path, contents: Contents
) -> None:
    out = tmp_path / "out"
    register(plan, out)
    before = contents(out)
    text = study_file.read_text()
    assert text.count(edit[0]) == 1
    study_file.write_text(text.replace(*edit))
    with pytest.raises(OutputError, match=words):
        register(make_plan(load_study(study_file), Choices()), out, resume=resume)
    assert contents(out) == before


def test_a_folder_that_is_taken_is_refused_and_left_alone(
    plan: Plan, study: StudySpec, tmp_path: Path, contents: Contents
) -> None:
    own, other, full, file = (tmp_path / name for name in ("own", "other", "full", "file"))
    register(plan, own)
    register(make_plan(study.model_copy(update={"study": "another"}), Choices()), other)
    full.mkdir()
    (full / "thesis.tex").write_text("words")
    file.write_text("words")
    before = contents(tmp_path)
    for out, words in (
        (own, "--resume"),
        (other, "holds the study 'another'"),
        (full, "is not empty"),
        (file, "is a file"),
        (file / "below", "is a file"),
    ):
        with pytest.raises(OutputError, match=words):
            register(plan, out)
    assert contents(tmp_path) == before


def test_nothing_is_written_where_the_plan_cannot_run(
    study: StudySpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, notes: Any
) -> None:
    from leonids.study.floors import floors_by_arm

    monkeypatch.setattr(conducting, "floors_by_arm", floors_by_arm)
    with pytest.raises(BaseError, match="nanoo"):
        register(make_plan(study, Choices(base="nanoo")), tmp_path / "out")
    monkeypatch.setattr(launching, "NEEDED", ("no_such_library",))
    with pytest.raises(MissingDependency, match=r"leonids\[train\]"):
        conduct(make_plan(study, Choices()), tmp_path / "out", resume=False, watch=notes)
    assert not (tmp_path / "out").exists()


def test_a_registration_cut_short_is_completed(plan: Plan, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    register(plan, whole)
    entries = Ledger.open(whole).entries()
    lines = (whole / LEDGER).read_bytes().splitlines(keepends=True)
    for kept in range(1, len(entries)):
        out = tmp_path / f"cut-{kept}"
        shutil.copytree(whole, out)
        (out / LEDGER).write_bytes(b"".join(lines[:kept]))
        (out / HEAD).write_bytes(head_bytes(kept, entries[kept - 1].sha256))
        register(plan, out, resume=True)
        again = Ledger.open(out).entries()
        assert [(e.type, canonical_json(e.body)) for e in again] == [(e.type, canonical_json(e.body)) for e in entries]


def test_a_folder_whose_ledger_was_taken_away_is_broken_not_new(plan: Plan, tmp_path: Path) -> None:
    register(plan, tmp_path / "out")
    (tmp_path / "out" / LEDGER).unlink()
    with pytest.raises(IntegrityError):
        register(plan, tmp_path / "out")


@pytest.mark.parametrize("who", ["run", "program"])
def test_a_metric_that_is_defined_anew_after_the_lock_voids_what_was_claimed_of_it(
    who: str, plan: Plan, tmp_path: Path, train: Any, notes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = {**metric_versions(), "match": 2}
    trainer = train()
    trainer.manifest = {"metrics": newer if who == "run" else metric_versions()}
    folder = conduct(plan, tmp_path / "out", resume=False, watch=notes)
    if who == "program":
        assert "void" not in {verdict["word"] for verdict in folder.verdicts}
        monkeypatch.setattr(reading, "metric_versions", lambda: newer)
    found = {v.prediction: v for v in judge_folder(StudyFolder.open(tmp_path / "out"), at=None)}
    void = {name: v.reason for name, v in found.items() if v.word == "void"}
    assert void.keys() == {p.id for p in plan.predictions if p.measure.metric == "match"}
    assert all(reason.startswith("metric changed: match was locked in version 1") for reason in void.values())
