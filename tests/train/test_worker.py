"""A worker's process: it ends with one line and the right code, stops when told, and never outlives its starter."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from leonids.ledger.chain import Ledger
from leonids.ledger.runs import run_state
from leonids.spec import RunSpec
from leonids.train import checkpoints, worker

MakeRun = Callable[..., RunSpec]


def write_pass(path: Path, runs: Sequence[RunSpec], out: Path, *, resume: bool) -> Path:
    runs_json = [run.model_dump(mode="json") for run in runs]
    path.write_text(
        json.dumps({"backend": "native", "out": str(out), "resume": resume, "threads": 1, "runs": runs_json})
    )
    return path


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(worker.__file__).parents[2]), "OMP_NUM_THREADS": "1"}


def test_a_worker_exits_with_the_errors_code_and_one_line(
    run_spec: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text("{")
    none = write_pass(tmp_path / "none.json", [run_spec("a", base="nanoo")], tmp_path / "out", resume=False)
    for arguments, code in (([], 2), ([str(bad)], 2), ([str(tmp_path / "absent")], 2), ([str(none)], 1)):
        assert worker.main(arguments) == code
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_worker_stopped_by_the_keyboard_exits_with_130_and_can_be_resumed(run_spec: MakeRun, tmp_path: Path) -> None:
    out = tmp_path / "out"
    runs = [run_spec("a", steps=400), run_spec("b", rank=2, steps=400)]
    work = write_pass(tmp_path / "pass.json", runs, out, resume=False)
    process = subprocess.Popen(
        [sys.executable, "-m", "leonids.train.worker", str(work)], stderr=subprocess.PIPE, env=environment()
    )
    wait_for(lambda: (out / "b" / "checkpoints" / "checkpoint-0").is_dir())
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said.decode()
    assert run_state(Ledger.open(out).entries(), "a") == "started"
    assert checkpoints.common_step([out / "a", out / "b"]) is not None


def test_a_worker_ends_with_the_process_that_started_it(run_spec: MakeRun, tmp_path: Path) -> None:
    runs = [run_spec("a", steps=100_000), run_spec("b", rank=2, steps=100_000)]
    work = write_pass(tmp_path / "pass.json", runs, tmp_path / "out", resume=False)
    starter = (
        "import os, subprocess, sys\n"
        "os.environ['LEONIDS_PARENT'] = str(os.getpid())\n"
        "child = subprocess.Popen([sys.executable, '-m', 'leonids.train.worker', sys.argv[1]])\n"
        "print(child.pid, flush=True)\n"
        "child.wait()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", starter, str(work)], stdout=subprocess.PIPE, text=True, env=environment()
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    wait_for(lambda: (tmp_path / "out" / "b" / "checkpoints" / "checkpoint-0").is_dir())
    parent.kill()
    parent.communicate()
    wait_for(lambda: not alive(child))
    assert checkpoints.common_step([tmp_path / "out" / "a", tmp_path / "out" / "b"]) is not None


def alive(process: int) -> bool:
    try:
        status = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return status != "Z"


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, "waited for a minute"
        time.sleep(0.02)
