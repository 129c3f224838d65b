"""Promises of a callback with a study: locked before the first step, judged at reviews, and only `kill` ends a run."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments
from typer.testing import CliRunner

from leonids import LeonidsCallback
from leonids.cli import app
from leonids.errors import SpecError, UsageError
from leonids.ledger.chain import read_entries
from leonids.ledger.streams import read_stream
from leonids.ledger.verify import verify
from leonids.study.folder import StudyFolder
from leonids.study.rederive import differences
from leonids.train.bases import load_base

pytestmark = pytest.mark.filterwarnings("ignore")

STUDY = """
study: mine
title: What my own trainer does
arms:
  slow: {universe: foreign}
  fast: {universe: foreign}
seeds: [0]
reviews: [50%, 100%]
scales:
  full: {base: own, steps: 100, batch_size: 2, lr: 0.003}
hypotheses:
  H:
    claim: It learns.
    predictions:
      - id: early
        says: Half way the held-out answer loss is below LIMIT.
        measure: {metric: loss, split: validation, arm: slow, at: 50%}
        expect: {below: LIMIT}
        scope: run
        kill: KILL
      - id: late
        says: At the end of training the arms have the same loss.
        measure: {metric: loss, split: validation, arm: slow, versus: fast, final: true}
        expect: {coincide: 50.0}
        scope: run
"""


@pytest.fixture
def study(tmp_path: Path) -> Callable[..., Path]:
    def write(*, limit: float = 100.0, kill: bool = False) -> Path:
        path = tmp_path / "study.yaml"
        path.write_text(STUDY.replace("LIMIT", str(limit)).replace("KILL", str(kill).lower()), "utf-8")
        return path

    return write


@pytest.fixture
def train(base_folder: Path, tmp_path: Path) -> Callable[..., Trainer]:
    generator = torch.Generator().manual_seed(0)
    rows = [{"input_ids": ids, "labels": ids} for ids in torch.randint(1, 60, (40, 9), generator=generator).tolist()]

    def run(watcher: Any, *others: Any, resume: str | None = None, **more: Any) -> Trainer:
        plain = {
            "output_dir": str(tmp_path / f"trainer-{watcher.run}"),
            "per_device_train_batch_size": 2,
            "max_steps": 20,
            "learning_rate": 3e-3,
            "report_to": "none",
            "disable_tqdm": True,
            "use_cpu": True,
            "save_strategy": "no",
            "eval_strategy": "steps",
            "eval_steps": 1000,
        }
        trainer = Trainer(
            model=load_base(str(base_folder), dtype="float32").model.requires_grad_(True),
            args=TrainingArguments(**{**plain, **more}),
            train_dataset=Dataset.from_list(rows),
            eval_dataset=Dataset.from_list(rows[:12]),
            callbacks=[watcher, *others],
        )
        trainer.train(resume_from_checkpoint=resume)
        return trainer

    return run


class StopAt(TrainerCallback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        control.should_training_stop = control.should_training_stop or state.global_step == self.step
        return control


def called(*arguments: str) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_study_is_locked_before_the_first_step_and_judged_at_its_reviews(
    study: Any, train: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    train(LeonidsCallback(out, study=study(), arm="slow"))
    entries = read_entries(out)
    types = [entry.type for entry in entries]
    assert types.index("register") < types.index("data_start")
    first = next(iter(read_stream(out / "slow.s0" / "steps.jsonl")))
    start = next(entry for entry in entries if entry.type == "data_start")
    assert start.sha256 in json.dumps(first)
    words = {v["prediction"]: (v["word"], v["grade"]) for v in StudyFolder.open(out).verdicts}
    assert words == {"early": ("supported", "sealed"), "late": ("not_due", "sealed")}
    train(LeonidsCallback(out, study=study(), arm="fast"))
    folder = StudyFolder.open(out)
    assert {v["prediction"]: v["word"] for v in folder.verdicts} == {"early": "supported", "late": "supported"}
    assert folder.closed
    assert verify(out).problems == ()
    assert differences(out) == []


def test_the_commands_read_a_callbacks_folder_and_say_what_cannot_be_known(
    study: Any, train: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    train(LeonidsCallback(out, study=study(), arm="slow"))
    assert {v["prediction"]: v["word"] for v in json.loads(called("judge", out, "--json"))}["early"] == "supported"
    said = called("explain", out, "--run", "slow.s0")
    assert "answer loss" in said
    assert "its floor is unknown" in said
    assert "universe of these data is not known" in said
    assert Path(called("report", out).strip()).read_text("utf-8").count("foreign") >= 2
    called("verify", out, "--rederive")


def test_runs_without_predictions_are_explained_too(train: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name in ("one", "two"):
        train(LeonidsCallback(out, run=name, tokens="all"), eval_steps=20)
    found = json.loads(called("explain", out, "--json"))
    assert [one["run"] for one in found] == ["one", "two"]
    assert all(one["all"]["loss"]["n"] == 12 for one in found)
    called("report", out)


def test_a_refuted_prediction_marked_kill_ends_the_training_and_no_other_does(
    study: Any, train: Any, tmp_path: Path
) -> None:
    for kill, last in ((True, 11), (False, 20)):
        out = tmp_path / f"out-{kill}"
        trainer = train(LeonidsCallback(out, study=study(limit=0.001, kill=kill), arm="slow"))
        assert trainer.state.global_step == last
        words = {v["prediction"]: v["word"] for v in StudyFolder.open(out).verdicts}
        assert words["early"] == "refuted"
        stops = [entry.body for entry in read_entries(out) if entry.body.get("about") == "stop"]
        assert stops == ([{"about": "stop", "run": "slow.s0", "step": 10, "refuted": ["early"]}] if kill else [])
        assert verify(out).problems == ()


def test_a_stopped_training_goes_on_without_a_step_twice_or_a_review_judged_twice(
    study: Any, train: Any, tmp_path: Path
) -> None:
    out, saved = tmp_path / "out", {"save_strategy": "steps", "save_steps": 4}
    train(LeonidsCallback(out, study=study(), arm="slow"), StopAt(15), **saved)
    train(
        LeonidsCallback(out, study=study(), arm="slow"),
        resume=str(tmp_path / "trainer-slow.s0" / "checkpoint-12"),
        **saved,
    )
    steps = [line["step"] for line in read_stream(out / "slow.s0" / "steps.jsonl") if line.get("kind") == "step"]
    assert steps == list(range(1, 21))
    assert [e.body["at"] for e in read_entries(out) if e.type == "verdict"] == [0.5, 1.0]
    assert verify(out).problems == ()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({}, "no run"),
        ({"study": "smoke"}, "consistent-r128"),
        ({"study": "smoke", "arm": "none"}, "no arm 'none'"),
        ({"study": "smoke", "arm": "prompt-r128"}, "seeds are 0, 1"),
        ({"study": "smoke", "arm": "prompt-r128", "seed": 9}, "no seed 9"),
        ({"study": "nowhere"}, "no study 'nowhere'"),
        ({"study": "smoke", "run": "mine"}, "arm= and seed="),
        ({"run": "mine", "tokens": "some"}, "tokens is 'some'"),
    ],
)
def test_a_wrong_argument_is_refused_before_training(wrong: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises((SpecError, UsageError), match=says):
        LeonidsCallback(tmp_path / "out", **wrong)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("trouble", ["other predictions", "other steps", "no labels"])
def test_what_cannot_be_watched_is_said_once_and_trained_all_the_same(
    study: Any, train: Any, tmp_path: Path, trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    train(LeonidsCallback(out, study=study(), arm="slow"))
    more: dict[str, Any] = {"max_steps": 10} if trouble == "other steps" else {}
    more |= {"label_smoothing_factor": 0.1} if trouble == "no labels" else {}
    watcher = LeonidsCallback(out, study=study(limit=50.0 if trouble == "other predictions" else 100.0), arm="fast")
    with caplog.at_level(logging.WARNING, logger="leonids"):
        trainer = train(watcher, **more)
    assert trainer.state.global_step == more.get("max_steps", 20)
    expected = {"other predictions": "other predictions", "other steps": "20 steps", "no labels": "nothing to read"}
    assert expected[trouble] in watcher.failed
    assert sum("stops watching" in record.message for record in caplog.records) == 1


def test_a_training_that_is_not_its_arm_is_told(
    study: Any, train: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="leonids"):
        train(LeonidsCallback(tmp_path / "out", study=study(), arm="slow"), learning_rate=1e-3)
    (said,) = [record.getMessage() for record in caplog.records if "not trained as its arm says" in record.getMessage()]
    assert "lr is 0.001, the arm says 0.003" in said
