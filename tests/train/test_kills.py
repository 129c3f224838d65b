"""Promises of interrupted training: killed at any moment or out of disk, resume ends with the same bytes."""

import os
import random
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers.utils import logging

from leonids.errors import OutputError
from leonids.ledger.streams import read_stream
from leonids.ledger.verify import verify
from leonids.spec import RunSpec
from leonids.train import native
from leonids.train.checkpoints import common_step, read_checkpoint
from leonids.train.native import NATIVE

MakeRun = Callable[..., RunSpec]
KILLS = 20
TICKS = os.sysconf("SC_CLK_TCK")


def stack_of(make: MakeRun) -> list[RunSpec]:
    more = {"steps": 16, "reviews": (8, 16), "checkpoint_every": 3}
    return [make("a", **more), make("b", rank=2, loss_on="all", init_seed=1, **more), make("c", lr=1e-3, **more)]


def contents(out: Path) -> dict[str, Any]:
    """Return adapters' and checkpoints' tensors and the streams' lines after the first, without hashes and clock."""
    found: dict[str, Any] = {
        str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*.safetensors") if path.is_file()
    }
    for path in out.glob("*/*.jsonl"):
        records = list(read_stream(path))[1:]
        kept = [{key: v for key, v in record.items() if key not in ("sha256", "wall_s")} for record in records]
        found[str(path.relative_to(out))] = kept
    return found


def forked(work: Callable[[], object]) -> int:
    """Do ``work`` in a process of its own; return its number. It exits with 3 where ``OutputError`` is raised."""
    child = os.fork()
    if child:
        return child
    code = 1
    # A progress bar takes a lock that processes share: killed while it holds it, the child would stop its parent.
    logging.disable_progress_bar()
    try:
        work()
        code = 0
    except OutputError as error:
        code = 3 if "\n" not in str(error) else 4
    finally:
        os._exit(code)


def cpu_seconds(child: int) -> float:
    fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


@pytest.fixture(scope="module")
def whole(run_spec: MakeRun, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """An uninterrupted pass of three adapters, and the processor's seconds that it took."""
    out = tmp_path_factory.mktemp("whole")
    child = forked(lambda: NATIVE.fit(stack_of(run_spec), out=out, resume=False))
    _, status, usage = os.wait4(child, 0)
    assert status == 0
    return out, usage.ru_utime + usage.ru_stime


@pytest.mark.slow
def test_a_stack_killed_at_twenty_random_moments_ends_with_the_same_bytes(
    whole: tuple[Path, float], run_spec: MakeRun, tmp_path: Path
) -> None:
    moments = random.Random(20261127)
    killed, steps = 0, set()
    for number in range(2 * KILLS):
        if killed == KILLS:
            break
        out, left = tmp_path / str(number), moments.uniform(0.0, 0.95) * whole[1]
        child = forked(lambda out=out: NATIVE.fit(stack_of(run_spec), out=out, resume=False))  # type: ignore[misc]
        # The moment is one of work done, so that it does not depend on how busy the machine is.
        while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None and cpu_seconds(child) < left:
            time.sleep(0.002)
        os.kill(child, signal.SIGKILL)
        killed += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        steps.add(common_step([out / run.run for run in stack_of(run_spec)]))
        NATIVE.fit(stack_of(run_spec), out=out, resume=True)
        assert contents(out) == contents(whole[0]), f"kill {number} after {left:.2f} s"
        assert verify(out).problems == ()
    # A kill that came too late does not count; kills that all come before the first checkpoint would show nothing.
    assert killed == KILLS
    assert len(steps) >= 3


@pytest.mark.parametrize("room", [1, 20_000])
def test_a_disk_that_fills_while_training_leaves_the_last_checkpoint_and_resume_the_same_bytes(
    room: int, whole: tuple[Path, float], run_spec: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 1 byte: no line of a stream has room; 20,000: lines have, the tensors of a checkpoint have not.
    step = native.Training._step

    def fills_up(training: native.Training) -> None:
        if training.done == 10:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
        step(training)

    monkeypatch.setattr(native.Training, "_step", fills_up)
    child = forked(lambda: NATIVE.fit(stack_of(run_spec), out=tmp_path, resume=False))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    monkeypatch.undo()
    folders = [tmp_path / run.run for run in stack_of(run_spec)]
    assert common_step(folders) == 9
    assert all(read_checkpoint(folder, 9).step == 9 for folder in folders)
    assert not list(tmp_path.glob("*/checkpoints/.checkpoint-*"))
    NATIVE.fit(stack_of(run_spec), out=tmp_path, resume=True)
    assert contents(tmp_path) == contents(whole[0])
    assert verify(tmp_path).problems == ()
