"""Promises of the callback where several processes train: everything is pooled, one of them writes, all end at once."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import leonids
from leonids.ledger.streams import read_stream
from leonids.ledger.verify import verify
from leonids.study.folder import StudyFolder

STUDY = """
study: mine
title: Two processes
arms:
  slow: {universe: foreign, rank: 4}
seeds: [0]
reviews: [50%, 100%]
scales:
  full: {base: own, steps: 8, batch_size: 8, lr: 0.05}
hypotheses:
  H:
    claim: It is there at once.
    predictions:
      - id: early
        says: Half way the held-out answer loss is next to nothing.
        measure: {metric: loss, split: validation, arm: slow, at: 50%}
        expect: {below: 0.001}
        scope: run
        n_min: 5
        kill: true
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def trained(processes: int, *, base: Path, study: Path, out: Path) -> str:
    script = Path(__file__).with_name("callback_on_two.py")
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(leonids.__file__).parents[1]),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    arguments = [str(script), str(base), str(study), str(out), str(4 // processes)]
    alone = [sys.executable, *arguments]
    port = f"--master_port={free_port()}"
    several = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={processes}", port, *arguments]
    command = alone if processes == 1 else several
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def lines(out: Path, stream: str, kind: str) -> list[dict[str, Any]]:
    return [line for line in read_stream(out / "slow.s0" / f"{stream}.jsonl") if line.get("kind") == kind]


@pytest.mark.slow
def test_two_processes_write_what_one_writes_and_a_kill_ends_both(base_folder: Path, tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(STUDY, "utf-8")
    for processes in (1, 2):
        out = tmp_path / f"out{processes}"
        said = trained(processes, base=base_folder, study=study, out=out)
        assert said.count("step 5") == processes
        assert [line["step"] for line in lines(out, "steps", "step")] == [1, 2, 3, 4, 5]
        assert verify(out).problems == ()
        assert [v["word"] for v in StudyFolder.open(out).verdicts] == ["refuted"]
    one, two = (lines(tmp_path / f"out{n}", "steps", "step") for n in (1, 2))
    assert [line["examples"] for line in one] == [line["examples"] for line in two] == [8] * 5
    one, two = (lines(tmp_path / f"out{n}", "reviews", "observation") for n in (1, 2))
    assert [line["index"] for line in one] == [line["index"] for line in two] == list(range(9))
    for ours, theirs in zip(two, one, strict=True):
        assert ours["metrics"]["loss"]["answer"][1] == theirs["metrics"]["loss"]["answer"][1]
