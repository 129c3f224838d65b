"""Progress is what the streams' ends say; what is judged by is what the ledger has sealed."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leonids.ledger.chain import Ledger
from leonids.ledger.runs import RunWriter
from leonids.spec import RunSpec
from leonids.study.plan import Plan
from leonids.study.progress import FIRST_BYTES, RECENT, Progress, RunProgress, sealed_steps


@pytest.fixture
def run(plan: Plan) -> RunSpec:
    return plan.runs[0]


def step_line(number: int) -> str:
    metrics = {"loss": {"copied": [6.0, 3], "end": [2.0, 1]}, "floor": {"copied": [1.5, 3], "end": [0.5, 1]}}
    line = {"kind": "step", "step": number, "wall_s": 0.5, "examples": 4, "metrics": metrics}
    return json.dumps(line, separators=(",", ":")) + "\n"


def steps_file(out: Path, run: RunSpec) -> Path:
    folder = out / run.run
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "steps.jsonl"


def test_a_run_that_has_not_begun_has_no_figures(run: RunSpec, tmp_path: Path) -> None:
    [found] = Progress([run], tmp_path, head={}).read()
    assert (found.step, found.steps, found.loss_nats, found.match_frac) == (0, run.steps, None, None)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_however_the_file_grows_the_figures_are_those_of_its_whole_lines(
    run: RunSpec, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    out = tmp_path_factory.mktemp("grows")
    path = steps_file(out, run)
    text = '{"kind":"data_start"}\n' + "".join(step_line(n) for n in range(1, 9))
    progress = Progress([run], out, head={run.arm: {"end": 0.5}})
    for size in sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5))):
        path.write_text(text[:size])
        [found] = progress.read()
        whole = max(0, text[:size].count("\n") - 1)
        assert found.step == whole
        if whole:
            assert (found.step_s, found.tokens_s) == (0.5, 8.0)
            assert (found.loss_nats, found.floor_nats, found.head_nats, found.excess_nats) == (2.0, 0.5, 0.125, 1.375)


def review_line(split: str, right: int) -> str:
    metrics = {"match": {"example": [right, 10]}}
    line = {"kind": "review", "metrics": metrics, "split": split, "step": 1}
    return json.dumps(line, separators=(",", ":")) + "\n"


OBSERVATION = '{"kind":"observation","split":"validation","text":"a \\"kind\\":\\"review\\" of 3"}\n'


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_match_is_that_of_the_last_whole_review_on_validation_wherever_the_look_begins(
    run: RunSpec, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    reviews = st.builds(review_line, st.sampled_from(["validation", "test", "transfer:longer"]), st.integers(0, 10))
    lines = data.draw(st.lists(st.one_of(reviews, st.just(OBSERVATION)), max_size=12))
    out = tmp_path_factory.mktemp("reviews")
    path = steps_file(out, run).with_name("reviews.jsonl")
    text = "".join(lines)
    watching = Progress([run], out, head={})
    for size in sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4))):
        path.write_text(text[:size])
        shown = [line for line in lines[: text[:size].count("\n")] if '"split":"validation"' in line]
        matches = [json.loads(line)["metrics"]["match"]["example"][0] / 10 for line in shown if line != OBSERVATION]
        for progress in (watching, Progress([run], out, head={})):
            assert progress.read()[0].match_frac == (matches[-1] if matches else None)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=st.integers(1, 9), kept=st.integers(0, 8), more=st.integers(0, 9))
def test_a_resume_that_cuts_a_stream_is_followed(
    run: RunSpec, tmp_path_factory: pytest.TempPathFactory, before: int, kept: int, more: int
) -> None:
    out = tmp_path_factory.mktemp("cut")
    path = steps_file(out, run)
    # Lines of the new course are longer, so that what was read last is in the middle of one, if it is there at all.
    lines = [step_line(n) for n in range(1, before + 1)]
    path.write_text("".join(lines))
    progress = Progress([run], out, head={run.arm: {"end": 0.5}})
    progress.read()
    anew = [step_line(n).replace('"kind"', '"lr":0.125,"kind"') for n in range(kept + 1, kept + 1 + more)]
    course = lines[:kept] + anew
    path.write_text("".join(course))
    [found] = progress.read()
    if len("".join(course)) < len("".join(lines)) or course[:before] != lines:
        assert found.step == (json.loads(course[-1])["step"] if course else 0)


def test_a_total_that_is_not_finite_is_shown_as_such(run: RunSpec, tmp_path: Path) -> None:
    steps_file(tmp_path, run).write_text(step_line(1).replace("6.0", '"NaN"'))
    [found] = Progress([run], tmp_path, head={}).read()
    assert found.loss_nats is not None
    assert found.loss_nats != found.loss_nats


def test_only_what_the_ledger_has_sealed_counts_as_reached(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path)
    with RunWriter.create(tmp_path, "r", {"run": "r"}, ledger) as writer:
        assert sealed_steps(ledger.entries(), "r") == 0
        for number in range(1, 7):
            writer.steps.append(json.loads(step_line(number)))
            if number % 2 == 0:
                writer.commit()
            assert sealed_steps(ledger.entries(), "r") == number - number % 2
        assert sealed_steps(ledger.entries(), "another") == 0


def test_the_study_reports_its_last_match(plan: Plan, tmp_path: Path, train: Any, notes: Any) -> None:
    from leonids.study.conduct import conduct

    train()
    conduct(plan, tmp_path / "out", resume=False, watch=notes)
    last: tuple[RunProgress, ...] = notes.seen[-1]
    assert [one.step for one in last] == [8, 8]
    assert all(one.match_frac == 0.0 for one in last)


@pytest.mark.parametrize("scope", ["answer", "all"])
def test_speed_counts_the_tokens_in_the_loss_of_the_last_steps_alone(run: RunSpec, tmp_path: Path, scope: str) -> None:
    def line(number: int, wall_s: float) -> str:
        loss = {"copied": ["NaN", 3], "end": [2.0, 1], "prompt": [9.0, 20]}
        return json.dumps({"kind": "step", "metrics": {"loss": loss}, "step": number, "wall_s": wall_s}) + "\n"

    spaced = [line(n, 8.0) for n in range(1, 4001)] + [line(n, 0.25) for n in range(4001, 4001 + RECENT)]
    text = "".join(spaced).replace(": ", ":").replace(", ", ",")
    assert len(text) > FIRST_BYTES
    steps_file(tmp_path, run).write_text(text)
    spec = run.model_copy(update={"loss_on": scope})
    [found] = Progress([spec], tmp_path, head={}).read()
    assert (found.step, found.step_s) == (4000 + RECENT, 0.25)
    assert found.tokens_s == (16.0 if scope == "answer" else 96.0)
    assert found.head_nats is None
