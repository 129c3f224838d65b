"""Promises of the callback: the trainer's own loss, honest counters across resume, and never a broken training."""

import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import PreTrainedTokenizerFast, Trainer, TrainingArguments
from trl import SFTConfig, SFTTrainer

from leonids.ledger.streams import read_stream
from leonids.ledger.verify import verify
from leonids.report.explain import explain, lines
from leonids.study.folder import StudyFolder
from leonids.train import callback
from leonids.train.bases import load_base
from leonids.train.callback import LeonidsCallback, mean_loss
from leonids.train.tap import Tap, seen_in
from leonids.universe.universe import Universe

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="session")
def tokenizer(base_folder: Path) -> Any:
    return PreTrainedTokenizerFast(tokenizer_file=str(base_folder / "tokenizer.json"), eos_token="<|end|>")


@pytest.fixture(scope="session")
def texts(universe: Universe) -> list[dict[str, str]]:
    examples = [universe.example("train", 3, index) for index in range(48)]
    return [{"prompt": example.prompt, "completion": example.completion + "<|end|>"} for example in examples]


def settings(folder: Path, **more: Any) -> dict[str, Any]:
    plain = {
        "output_dir": str(folder / "trainer"),
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "max_steps": 6,
        "logging_steps": 2,
        "learning_rate": 5e-2,
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "bf16": False,
        "save_strategy": "no",
        "seed": 1,
    }
    return {**plain, **more}


@pytest.fixture
def sft(base_folder: Path, tokenizer: Any, texts: Any, tmp_path: Path) -> Callable[..., SFTTrainer]:
    def make(watcher: Any, *, masked: bool = True, **more: Any) -> SFTTrainer:
        rows = texts if masked else [{"text": row["prompt"] + row["completion"]} for row in texts]
        config = SFTConfig(**settings(tmp_path, gradient_checkpointing=False, **{"max_length": None, **more}))
        return SFTTrainer(
            model=load_base(str(base_folder), dtype="float32").model,
            args=config,
            train_dataset=Dataset.from_list(rows),
            eval_dataset=Dataset.from_list(rows[:9]),
            processing_class=tokenizer,
            peft_config=LoraConfig(r=4, target_modules=["q_proj", "down_proj"]),
            callbacks=[watcher],
        )

    return make


def steps(out: Path) -> list[dict[str, Any]]:
    return [line for line in read_stream(out / "mine" / "steps.jsonl") if line.get("kind") == "step"]


def logged(trainer: Trainer) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize("more", [{}, {"masked": False}, {"packing": True, "max_length": 128}])
def test_in_trl_the_probes_loss_is_the_one_that_the_trainer_logs(
    sft: Any, tmp_path: Path, more: dict[str, Any]
) -> None:
    tokens = "answer" if more.get("masked", True) else "all"
    trainer = sft(LeonidsCallback(tmp_path / "out", run="mine", tokens=tokens), **more)
    trainer.train()
    ours = [mean_loss(line["metrics"]) for line in steps(tmp_path / "out")]
    pairs = [(ours[at] + ours[at + 1]) / 2 for at in (0, 2, 4)]
    assert logged(trainer) == pytest.approx(pairs, abs=1e-4)
    first = steps(tmp_path / "out")[0]
    assert set(first["metrics"]["loss"]) == {tokens}
    assert first["lr"] == pytest.approx(5e-2)
    assert "logits" in first["absent"]["confidence"]
    last = steps(tmp_path / "out")[-1]["metrics"]
    right, count = last["confidence_right"][tokens]
    assert count == last["token_accuracy"][tokens][0] > 0
    assert 0 < right < count
    assert verify(tmp_path / "out").problems == ()


@pytest.fixture
def plain(base_folder: Path, tokenizer: Any, texts: Any, tmp_path: Path) -> Callable[..., Trainer]:
    def collate(rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        longest = max(len(row["input_ids"]) for row in rows)
        ids = [row["input_ids"] + [0] * (longest - len(row["input_ids"])) for row in rows]
        labels = [row["labels"] + [-100] * (longest - len(row["labels"])) for row in rows]
        mask = [[1] * len(row["labels"]) + [0] * (longest - len(row["labels"])) for row in rows]
        return {
            "input_ids": torch.tensor(ids),
            "labels": torch.tensor(labels),
            "attention_mask": torch.tensor(mask),
        }

    def make(watcher: Any, **more: Any) -> Trainer:
        rows = []
        for text in texts:
            prompt, answer = (tokenizer.encode(text[key]) for key in ("prompt", "completion"))
            rows.append({"input_ids": prompt + answer, "labels": [-100] * len(prompt) + answer})
        return Trainer(
            model=load_base(str(base_folder), dtype="float32").model.requires_grad_(True),
            args=TrainingArguments(**{**settings(tmp_path), "learning_rate": 3e-3, **more}),
            train_dataset=Dataset.from_list(rows),
            eval_dataset=Dataset.from_list(rows[:9]),
            data_collator=collate,
            callbacks=[watcher],
        )

    return make


def observations(out: Path) -> list[dict[str, Any]]:
    return [line for line in read_stream(out / "mine" / "reviews.jsonl") if line.get("kind") == "observation"]


def test_in_the_plain_trainer_the_loss_is_the_logged_one_and_nothing_is_absent_but_the_floor(
    plain: Any, tmp_path: Path
) -> None:
    trainer = plain(LeonidsCallback(tmp_path / "out", run="mine"))
    trainer.train()
    found = steps(tmp_path / "out")
    ours = [mean_loss(line["metrics"]) for line in found]
    assert logged(trainer) == pytest.approx([(ours[at] + ours[at + 1]) / 2 for at in (0, 2, 4)], abs=1e-4)
    assert set(found[0]["absent"]) == {"floor", "match"}
    assert {"confidence", "confidence_wrong"} <= set(found[0]["metrics"])
    assert [line["examples"] for line in found] == [4] * 6


def test_a_training_that_evaluates_nothing_is_explained_as_one(sft: Any, tmp_path: Path) -> None:
    sft(LeonidsCallback(tmp_path / "out", run="mine")).train()
    (said,) = lines(explain(StudyFolder.open(tmp_path / "out"), "mine"))
    assert "no review: nothing held out is measured" in said


def test_evaluation_is_the_same_for_every_batch_size(sft: Any, tmp_path: Path) -> None:
    results = []
    for size in (1, 2, 8, 32):
        out = tmp_path / f"out{size}"
        more = {"eval_strategy": "steps", "eval_steps": 2, "max_steps": 2}
        sft(LeonidsCallback(out, run="mine"), per_device_eval_batch_size=size, **more).train()
        results.append(observations(out))
    assert [line["index"] for line in results[0]] == list(range(9))
    for other in results[1:]:
        for ours, theirs in zip(results[0], other, strict=True):
            assert ours["metrics"].keys() == theirs["metrics"].keys()
            total, count = theirs["metrics"]["loss"]["answer"]
            assert ours["metrics"]["loss"]["answer"] == [pytest.approx(total, abs=1e-4), count]


def test_counters_are_the_same_after_resume(sft: Any, tmp_path: Path) -> None:
    more = {"save_strategy": "steps", "save_steps": 2}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    sft(LeonidsCallback(whole, run="mine"), **more).train()

    class Stop(callback.TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
            control.should_training_stop = state.global_step == 5
            return control

    first = sft(LeonidsCallback(parts, run="mine"), output_dir=str(tmp_path / "again"), **more)
    first.add_callback(Stop())
    first.train()
    assert len(steps(parts)) == 5
    second = sft(LeonidsCallback(parts, run="mine"), output_dir=str(tmp_path / "again"), **more)
    second.train(resume_from_checkpoint=str(tmp_path / "again" / "checkpoint-4"))
    for ours, theirs in zip(steps(parts), steps(whole), strict=True):
        assert [ours[key] for key in ("step", "examples", "lr")] == [theirs[key] for key in ("step", "examples", "lr")]
        for metric, cells in theirs["metrics"].items():
            for role, (total, count) in cells.items():
                assert ours["metrics"][metric][role] == [pytest.approx(total, abs=1e-4), count]
    assert verify(parts).problems == ()


def test_a_callback_that_fails_lets_go_and_the_training_goes_on(
    sft: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise ValueError("nonsense")

    monkeypatch.setattr("leonids.train.tap.seen_in", broken)
    watcher = LeonidsCallback(tmp_path / "out", run="mine")
    with caplog.at_level(logging.WARNING, logger="leonids"):
        trainer = sft(watcher)
        trainer.train()
    assert trainer.state.global_step == 6
    assert watcher.failed == "ValueError: nonsense"
    assert sum("stops watching" in record.message for record in caplog.records) == 1


def test_a_run_folder_that_cannot_be_written_does_not_stop_the_training(sft: Any, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file where a folder should be")
    watcher = LeonidsCallback(tmp_path / "out", run="mine")
    trainer = sft(watcher)
    trainer.train()
    assert trainer.state.global_step == 6
    assert watcher.failed


def test_a_trainer_that_scales_its_loss_wrongly_is_told(
    sft: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = SFTTrainer.compute_loss
    monkeypatch.setattr(SFTTrainer, "compute_loss", lambda *a, **m: right(*a, **m) / 2)
    with caplog.at_level(logging.WARNING, logger="leonids"):
        sft(LeonidsCallback(tmp_path / "out", run="mine")).train()
    assert sum("its tokens say" in record.message for record in caplog.records) == 1


def test_where_outputs_tell_nothing_a_few_rows_are_measured_now_and_then(base_folder: Path) -> None:
    model = load_base(str(base_folder), dtype="float32").model
    failures: list[Exception] = []
    full = Tap(model, tokens="all", fail=failures.append)
    model.train()
    ids = torch.randint(1, 60, (4, 12), generator=torch.Generator().manual_seed(0))
    model(input_ids=ids, labels=ids)
    known, _, _ = full.take_step()
    full.detach()
    silent = Tap(model, tokens="all", fail=failures.append)
    # As Liger's kernels do: a loss, and neither logits nor log-probabilities.
    model.forward = lambda **more: SimpleNamespace(loss=torch.zeros(()), logits=None)
    for _ in range(51):
        model(input_ids=ids, labels=ids)
    measured, examples, _ = silent.take_step()
    assert failures == []
    assert examples == 51 * 4
    for metric, cells in known.items():
        total, count = cells["all"]
        assert measured[metric]["all"] == [pytest.approx(2 * total, abs=1e-3), 2 * count]


def test_outputs_without_labels_say_nothing() -> None:
    assert seen_in(SimpleNamespace(logits=torch.zeros(1, 2, 3)), None) is None
