"""Promises of the back end trl: the curve of native on the same data, the same lines, the same resume."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from leonids.errors import UsageError
from leonids.ledger.streams import read_stream
from leonids.ledger.verify import verify
from leonids.spec import RunSpec
from leonids.train import trl as back_end
from leonids.train import worker
from leonids.train.backend import BACKENDS, load_backend
from leonids.train.bases import load_base
from leonids.train.callback import mean_loss
from leonids.train.native import NATIVE
from leonids.train.trl import TRL

pytestmark = pytest.mark.filterwarnings("ignore")

MakeRun = Callable[..., RunSpec]
ROUNDING = 2e-4


def lines(out: Path, stream: str, run: str = "a") -> list[dict[str, Any]]:
    return list(read_stream(out / run / f"{stream}.jsonl"))[1:]


def close(ours: Any, theirs: Any, *, metrics: set[str]) -> None:
    for first, second in zip(ours, theirs, strict=True):
        for key in set(second) - {"sha256", "wall_s", "metrics", "absent", "audit", "answer"}:
            assert first[key] == (pytest.approx(second[key]) if key == "lr" else second[key])
        for column in ("confidence", "gold_confidence") if "answer" in second else ():
            assert first["answer"][column] == pytest.approx(second["answer"][column], abs=ROUNDING)
        for metric in metrics & set(second["metrics"]):
            assert first["metrics"][metric].keys() == second["metrics"][metric].keys()
            for role, (total, count) in second["metrics"][metric].items():
                assert first["metrics"][metric][role] == [pytest.approx(total, abs=ROUNDING * count), count]


@pytest.mark.parametrize("scope", ["answer", "all"])
@pytest.mark.parametrize("steps", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_trl_and_native_give_the_same_curve_on_the_same_steps(
    run_spec: MakeRun, tmp_path: Path, scope: str, steps: int
) -> None:
    reviews = (steps // 2, steps)
    run = run_spec("a", loss_on=scope, steps=steps, lr=2e-4, warmup_steps=10, weight_decay=0.01, reviews=reviews)
    TRL.fit([run], out=tmp_path / "trl", resume=False)
    NATIVE.fit([run], out=tmp_path / "native", resume=False)
    ours, theirs = (lines(tmp_path / name, "steps") for name in ("trl", "native"))
    assert len(ours) == steps
    close(ours, theirs, metrics={"loss", "floor", "gold_confidence"})
    close(
        lines(tmp_path / "trl", "reviews"),
        lines(tmp_path / "native", "reviews"),
        metrics={"loss", "floor", "confidence", "gold_confidence"},
    )
    adapters = [
        load_file(tmp_path / name / "a" / "adapter" / "adapter_model.safetensors") for name in ("trl", "native")
    ]
    assert max((adapters[0][key] - adapters[1][key]).abs().max().item() for key in adapters[1]) < 1e-4
    assert verify(tmp_path / "trl").problems == ()


def test_a_stopped_training_resumes_to_the_same_lines(
    run_spec: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_spec("a", lr=1e-3)
    TRL.fit([run], out=tmp_path / "whole", resume=False)
    end = back_end.Recorder.on_step_end

    def stopped(recorder: Any, args: Any, state: Any, control: Any, **more: Any) -> Any:
        recorder.stop.asked = state.global_step == 4
        return end(recorder, args, state, control, **more)

    monkeypatch.setattr(back_end.Recorder, "on_step_end", stopped)
    with pytest.raises(KeyboardInterrupt):
        TRL.fit([run], out=tmp_path / "parts", resume=False)
    monkeypatch.setattr(back_end.Recorder, "on_step_end", end)
    TRL.fit([run], out=tmp_path / "parts", resume=True)
    for stream in ("steps", "reviews"):
        whole, parts = (lines(tmp_path / name, stream) for name in ("whole", "parts"))
        close(parts, whole, metrics={"loss", "floor"})
    assert verify(tmp_path / "parts").problems == ()
    before = (tmp_path / "parts" / "ledger.jsonl").read_bytes()
    TRL.fit([run], out=tmp_path / "parts", resume=True)
    assert (tmp_path / "parts" / "ledger.jsonl").read_bytes() == before


@pytest.mark.slow
def test_two_processes_give_the_curve_of_one(run_spec: MakeRun, tmp_path: Path) -> None:
    run = run_spec("a", lr=1e-3, steps=20, reviews=(20,))
    TRL.fit([run], out=tmp_path / "one", resume=False)
    work = {"backend": "trl", "out": str(tmp_path / "two"), "runs": [run.model_dump(mode="json")]}
    (tmp_path / "pass.json").write_text(json.dumps(work))
    root = str(Path(back_end.__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=29511"]
    command = [*launch, "-m", "leonids.train.worker", str(tmp_path / "pass.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    for stream in ("steps", "reviews"):
        one, two = (lines(tmp_path / name, stream) for name in ("one", "two"))
        close(two, one, metrics={"loss", "floor"})


def test_sharded_weights_are_refused_before_a_run_folder_begins(
    run_spec: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = back_end._trainer

    def sharded(*given: Any, **more: Any) -> Any:
        trainer = make(*given, **more)
        # As accelerate sets it with FSDP, which it ignores on a CPU.
        trainer.is_fsdp_enabled = True
        return trainer

    monkeypatch.setattr(back_end, "_trainer", sharded)
    with pytest.raises(UsageError, match="sharded weights"):
        TRL.fit([run_spec("a")], out=tmp_path, resume=False)
    assert not (tmp_path / "a" / "steps.jsonl").exists()


def test_back_ends_are_known_by_name() -> None:
    assert {name: type(load_backend(name)).__name__ for name in BACKENDS} == {"native": "Native", "trl": "Trl"}
    with pytest.raises(UsageError, match="native, trl"):
        load_backend("other")


def test_every_weight_can_be_trained_and_the_result_is_a_base(run_spec: MakeRun, tmp_path: Path) -> None:
    lora = run_spec("a", steps=30, batch_size=8, lr=1e-2, reviews=(0, 30), checkpoint_every=30)
    run = lora.model_copy(update={"adapter": lora.adapter.model_copy(update={"method": "full"})})
    with pytest.raises(UsageError, match="back end trl"):
        NATIVE.fit([run], out=tmp_path / "native", resume=False)
    work = {"out": str(tmp_path), "runs": [run.model_dump(mode="json")]}
    (tmp_path / "pass.json").write_text(json.dumps(work))
    assert worker.main([str(tmp_path / "pass.json")]) == 0
    reviews = [line for line in lines(tmp_path, "reviews") if line["kind"] == "review"]
    before, after = (mean_loss(line["metrics"]) for line in reviews[:2])
    assert after < before / 2
    model = load_base(str(tmp_path / "a" / "model"), dtype="float32")
    assert (tmp_path / "a" / "model" / "tokenizer.json").is_file()
    assert not torch.equal(model.head_weight, load_base(run.base, dtype="float32").head_weight)
