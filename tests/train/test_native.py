"""Promises of the back end native: pure data, honest lines, checkpoints whole or not at all, resume to the bit."""

import json
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from leonids.errors import BaseError, OutputError, UsageError
from leonids.ledger.streams import read_stream
from leonids.ledger.verify import verify
from leonids.spec import RunSpec
from leonids.train import batches, checkpoints, native
from leonids.train.evaluate import review
from leonids.train.native import NATIVE, Training
from leonids.train.stacked import StackedLoRALinear

MakeRun = Callable[..., RunSpec]


def lines(out: Path, run: str, stream: str) -> list[dict[str, Any]]:
    """Return the records of a stream after its first, without hashes and without the clock."""
    records = list(read_stream(out / run / f"{stream}.jsonl"))[1:]
    return [{key: value for key, value in record.items() if key not in ("sha256", "wall_s")} for record in records]


def adapter(out: Path, run: str) -> bytes:
    return (out / run / "adapter" / "adapter_model.safetensors").read_bytes()


def pair(make: MakeRun, **more: Any) -> list[RunSpec]:
    return [make("a", **more), make("b", rank=2, lr=1e-3, loss_on="all", init_seed=1, **more)]


@pytest.fixture(scope="module")
def finished(run_spec: MakeRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished")
    NATIVE.fit(pair(run_spec), out=out, resume=False)
    return out


def same_results(first: Path, second: Path) -> None:
    for run in ("a", "b"):
        assert adapter(first, run) == adapter(second, run)
        for stream in ("steps", "reviews"):
            assert lines(first, run, stream) == lines(second, run, stream)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_rows_share_no_tokens_where_each_has_a_dropout_of_its_own(
    run_spec: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dropout: float
) -> None:
    asked: list[bool] = []

    def collated(*given: Any, share: bool = True, **more: Any) -> Any:
        asked.append(share)
        return batches.collate(*given, share=share, **more)

    monkeypatch.setattr(native, "collate", collated)
    run = run_spec("a")
    NATIVE.fit(
        [run.model_copy(update={"adapter": run.adapter.model_copy(update={"dropout": dropout})})],
        out=tmp_path,
        resume=False,
    )
    assert set(asked) == {not dropout}


def test_every_step_and_review_has_its_lines(finished: Path) -> None:
    for run in ("a", "b"):
        steps = lines(finished, run, "steps")
        assert [line["step"] for line in steps] == [1, 2, 3, 4, 5, 6]
        reviews = lines(finished, run, "reviews")
        seen = [(line["kind"], line["step"], line["split"], line.get("index", line.get("n"))) for line in reviews]
        assert seen == [
            *[("observation", 3, "validation", index) for index in range(6)],
            ("review", 3, "validation", 6),
            *[("observation", 6, "validation", index) for index in range(6, 12)],
            ("review", 6, "validation", 6),
            *[("observation", 6, "test", index) for index in range(5)],
            ("review", 6, "test", 5),
        ]


def test_transfer_splits_are_measured_before_training_and_at_its_end(run_spec: MakeRun, tmp_path: Path) -> None:
    more = {"reviews": (0, 1, 2), "steps": 2, "transfer": ("transfer:deeper", "transfer:longer")}
    NATIVE.fit(pair(run_spec, **more), out=tmp_path, resume=False)
    for run in ("a", "b"):
        reviews = lines(tmp_path, run, "reviews")
        heads = [(line["step"], line["split"], line["n"]) for line in reviews if line["kind"] == "review"]
        deep, long = ((step, f"transfer:{name}", 5) for step, name in ((0, "deeper"), (0, "longer")))
        assert heads[:4] == [(0, "validation", 6), deep, long, (1, "validation", 6)]
        assert [head[1] for head in heads[4:]] == ["validation", "test", "transfer:deeper", "transfer:longer"]
        depths = [line["tags"]["depth"] for line in reviews if line["split"] == "transfer:deeper" and "tags" in line]
        assert min(depths) > 2
        indexes = [line["index"] for line in reviews if line["split"] == "transfer:deeper" and "tags" in line]
        assert indexes == [*range(5), *range(5)]


def test_before_training_the_base_speaks_for_every_run_that_is_shown_the_same_examples(
    run_spec: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = {"reviews": (0, 2), "steps": 2}
    runs = [*pair(run_spec, **more), run_spec("c", rank=2, init_seed=2, **more), run_spec("d", data_seed=7, **more)]
    measured: list[tuple[int, int]] = []

    def counted(engine: Any, chunk: Any, streams: Sequence[Any], held: Any, *, step: int) -> Any:
        measured.append((step, len(streams)))
        return review(engine, chunk, streams, held, step=step)

    monkeypatch.setattr(native, "review", counted)
    NATIVE.fit(runs, out=tmp_path / "together", resume=False)
    assert sum(size for step, size in measured if step == 0) == 3
    assert sum(size for step, size in measured if step == 2) == 2 * len(runs)

    def by_its_own_adapter(training: Training) -> list[tuple[Any, list[list[int]]]]:
        return [(chunk, [[e] for e in chunk.members]) for chunk in training.stack.chunks]

    monkeypatch.setattr(Training, "_measured", by_its_own_adapter)
    NATIVE.fit(runs, out=tmp_path / "each", resume=False)
    for run in ("a", "b", "c", "d"):
        both = [
            [line for line in lines(tmp_path / folder, run, "reviews") if line["step"] == 0]
            for folder in ("together", "each")
        ]
        assert [line["kind"] for line in both[0]] == [*["observation"] * 6, "review"]
        for base, own in zip(*both, strict=True):
            assert base.keys() == own.keys()
            assert base["metrics"].keys() == own["metrics"].keys()
            for role, (total, count) in own["metrics"]["loss"].items():
                assert base["metrics"]["loss"][role] == pytest.approx([total, count], rel=1e-5, abs=1e-5)


def test_a_run_on_shuffled_answers_has_no_floor_in_training_and_one_on_held_out_examples(
    run_spec: MakeRun, tmp_path: Path
) -> None:
    run = run_spec("a", answers="shuffled", loss_on="all", reviews=(2,), steps=2)
    NATIVE.fit([run], out=tmp_path, resume=False)
    for line in lines(tmp_path, "a", "steps"):
        assert "floor" not in line["metrics"]
        assert all(count for _, count in line["metrics"]["loss"].values())
    assert all("floor" in line["metrics"] for line in lines(tmp_path, "a", "reviews"))


def test_a_review_pools_its_observations(finished: Path) -> None:
    reviews = lines(finished, "b", "reviews")
    own, pooled = reviews[:6], reviews[6]
    for metric, roles in pooled["metrics"].items():
        for role, (total, count) in roles.items():
            cells = [line["metrics"].get(metric, {}).get(role, [0, 0]) for line in own]
            assert total == pytest.approx(sum(cell[0] for cell in cells), abs=1e-6)
            assert count == sum(cell[1] for cell in cells)


def test_the_loss_scope_says_which_roles_are_measured(finished: Path) -> None:
    assert "prompt" not in lines(finished, "a", "steps")[0]["metrics"]["loss"]
    assert "prompt" in lines(finished, "b", "steps")[0]["metrics"]["loss"]


def test_a_finished_study_verifies(finished: Path) -> None:
    assert verify(finished).problems == ()


def test_training_twice_gives_the_same_bits(finished: Path, run_spec: MakeRun, tmp_path: Path) -> None:
    NATIVE.fit(pair(run_spec), out=tmp_path, resume=False)
    same_results(finished, tmp_path)


def test_a_finished_study_is_left_alone(finished: Path, run_spec: MakeRun) -> None:
    before = (finished / "ledger.jsonl").read_bytes()
    NATIVE.fit(pair(run_spec), out=finished, resume=True)
    assert (finished / "ledger.jsonl").read_bytes() == before
    with pytest.raises(OutputError, match="holds a run already"):
        NATIVE.fit(pair(run_spec), out=finished, resume=False)


def test_an_adapter_trained_alone_comes_out_of_a_stack_within_rounding(
    finished: Path, run_spec: MakeRun, tmp_path: Path
) -> None:
    NATIVE.fit(pair(run_spec)[1:], out=tmp_path, resume=False)
    ours = load_file(finished / "b" / "adapter" / "adapter_model.safetensors")
    alone = load_file(tmp_path / "b" / "adapter" / "adapter_model.safetensors")
    assert max((ours[name] - alone[name]).abs().max().item() for name in ours) < 1e-5


def test_rows_in_parts_give_the_gradient_of_the_whole_batch(
    finished: Path, run_spec: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "room_for", lambda *_, **__: native.Room(1, 3, 200, mixed=False))
    NATIVE.fit(pair(run_spec), out=tmp_path, resume=False)
    ours = load_file(finished / "a" / "adapter" / "adapter_model.safetensors")
    parts = load_file(tmp_path / "a" / "adapter" / "adapter_model.safetensors")
    assert max((ours[name] - parts[name]).abs().max().item() for name in ours) < 1e-5


def test_an_interrupt_leaves_a_run_that_resume_takes_to_the_same_bits(
    finished: Path, run_spec: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = native.Training._step

    def interrupted(training: native.Training) -> None:
        step(training)
        if training.done == 5:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(native.Training, "_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        NATIVE.fit(pair(run_spec), out=tmp_path, resume=False)
    assert checkpoints.steps_kept(tmp_path / "a")[-1] == 5
    monkeypatch.setattr(native.Training, "_step", step)
    NATIVE.fit(pair(run_spec), out=tmp_path, resume=True)
    same_results(finished, tmp_path)
    assert verify(tmp_path).problems == ()


def fit_and_die(runs: list[RunSpec], out: Path, *, moment: int) -> int:
    """Train in a process of its own that SIGKILL ends at one of the moments that write something; return its status."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    left = moment

    def killing(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **more: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **more)

        return wrapped

    try:
        os.fsync, os.write, Path.rename = killing(os.fsync), killing(os.write), killing(Path.rename)  # type: ignore
        NATIVE.fit(runs, out=out, resume=False)
    finally:
        os._exit(0)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("moment", range(3, 150, 12))
def test_killed_at_any_moment_of_writing_resume_ends_at_the_same_bits(
    finished: Path, run_spec: MakeRun, tmp_path: Path, moment: int
) -> None:
    status = fit_and_die(pair(run_spec), tmp_path, moment=moment)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    NATIVE.fit(pair(run_spec), out=tmp_path, resume=True)
    same_results(finished, tmp_path)
    assert verify(tmp_path).problems == ()
    assert not list(tmp_path.glob("*/checkpoints/.checkpoint-*"))


def test_the_last_two_checkpoints_are_kept_in_peft_format(finished: Path) -> None:
    assert checkpoints.steps_kept(finished / "a") == [4, 6]
    last = finished / "a" / "checkpoints" / "checkpoint-6"
    assert (last / "adapter_model.safetensors").read_bytes() == adapter(finished, "a")


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(
    run_spec: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = checkpoints.save_file
    calls = iter(range(100))

    def full(*arguments: Any, **more: Any) -> None:
        if next(calls) == 3:
            raise OSError(28, "No space left on device")
        save(*arguments, **more)

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(OutputError, match="No space left"):
        NATIVE.fit(pair(run_spec), out=tmp_path, resume=False)
    assert checkpoints.common_step([tmp_path / "a", tmp_path / "b"]) == 0
    assert not list(tmp_path.glob("*/checkpoints/.checkpoint-*"))


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory")])
def test_a_batch_that_memory_does_not_hold_is_one_clear_line(
    run_spec: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(_: native.Training) -> None:
        raise error

    monkeypatch.setattr(native.Training, "_step", full)
    with pytest.raises(UsageError, match="2 adapters at batch size 4"):
        NATIVE.fit(pair(run_spec), out=tmp_path, resume=False)


@pytest.mark.parametrize("rank", [1, 8, 32])
def test_the_manifest_says_which_weights_a_step_writes_down(
    rank: int, run_spec: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: set[int] = set()
    down = StackedLoRALinear._written_down

    def noted(self: StackedLoRALinear, *given: Any, **more: Any) -> Any:
        done.add(id(self))
        return down(self, *given, **more)

    with ExitStack() as opened:
        training = Training([run_spec("r", rank=rank, reviews=())], out=tmp_path, resume=False, opened=opened)
        monkeypatch.setattr(StackedLoRALinear, "_written_down", noted)
        training._step()
        names = {name.rpartition(".")[2] for name, layer in training.stack.layers.items() if id(layer) in done}
    manifest = json.loads((tmp_path / "r" / "manifest.json").read_text())
    assert manifest["stacked"] == {"with": [], "rows_at_once": 4, "written_down": sorted(names)}
    assert bool(names) == (rank > 1)


def test_runs_of_one_universe_and_seed_are_paired_in_the_manifest(finished: Path) -> None:
    manifest = json.loads((finished / "a" / "manifest.json").read_text())
    assert manifest["paired_with"] == ["b"]
    assert manifest["config"]["run"] == "a"
    assert manifest["dtype"] == "float32"


def test_runs_that_cannot_share_a_pass_are_refused(run_spec: MakeRun, tmp_path: Path) -> None:
    for other in (run_spec("b", batch_size=2), run_spec("a"), run_spec("b", steps=7)):
        with pytest.raises(UsageError):
            NATIVE.fit([run_spec("a"), other], out=tmp_path, resume=False)
    assert not list(tmp_path.iterdir())


def test_a_prompt_longer_than_the_context_is_refused_before_anything_is_written(
    run_spec: MakeRun, base_folder: Path, tmp_path: Path
) -> None:
    short = tmp_path / "short"
    short.mkdir()
    for path in base_folder.iterdir():
        (short / path.name).write_bytes(path.read_bytes())
    config = json.loads((short / "config.json").read_text())
    (short / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 20}))
    with pytest.raises(BaseError, match="reads at most 20"):
        NATIVE.fit([run_spec("a", base=str(short))], out=tmp_path / "out", resume=False)
    assert not (tmp_path / "out").exists()


def test_a_non_finite_loss_is_written_as_such(run_spec: MakeRun, tmp_path: Path) -> None:
    runs = [run_spec("a", lr=1e30, clip_norm=1e30, steps=4, reviews=()), run_spec("b", steps=4, reviews=())]
    NATIVE.fit(runs, out=tmp_path, resume=False)
    last = lines(tmp_path, "a", "steps")[-1]["metrics"]["loss"]
    assert any(not torch.isfinite(torch.tensor(float(total))) for total, _ in last.values())
    assert all(float(total) < 1e6 for total, _ in lines(tmp_path, "b", "steps")[-1]["metrics"]["loss"].values())
    assert verify(tmp_path).problems == ()
