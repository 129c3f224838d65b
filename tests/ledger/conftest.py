import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from leonids.ledger.chain import Ledger
from leonids.ledger.entry import seal
from leonids.ledger.lines import FIRST, HEAD, LEDGER, head_bytes
from leonids.ledger.runs import RunWriter

PREDICTIONS = [
    {"id": "H1.1", "expect": {"between": [0.3, 0.4]}},
    {"id": "H1.2", "expect": {"above": 0.85}},
]


class Ticking:
    """A clock that moves on by one second each time it is read."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 31, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


def step(number: int) -> dict:
    metrics = {"loss": {"copied": [number / 3, 7], "decided": [1e-5 * number, 2]}}
    return {"kind": "step", "step": number, "split": "train", "lr": 2e-4, "wall_s": 0.25, "metrics": metrics}


def observation(number: int) -> dict:
    return {"kind": "observation", "step": 3, "split": "validation", "index": number, "metrics": {}}


@pytest.fixture
def clock() -> Ticking:
    return Ticking()


@pytest.fixture
def ledger(tmp_path: Path, clock: Ticking) -> Ledger:
    return Ledger.open(tmp_path / "out", clock=clock)


@pytest.fixture(scope="session")
def _finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template") / "out"
    ledger = Ledger.open(folder, clock=Ticking())
    (folder / "study.yaml").write_text("rank: 8\n")
    ledger.register(PREDICTIONS, files=["study.yaml"])
    for run in ("r8", "r128"):
        with RunWriter.create(folder, run, {"config": {"run": run}, "device": "cpu"}, ledger) as writer:
            for number in range(3):
                writer.steps.append(step(number))
            writer.reviews.append(observation(0))
            writer.commit(writer.watermark())
            writer.steps.append(step(3))
            writer.reviews.append(observation(1))
            writer.finish()
    verdicts = [{"prediction": prediction["id"], "word": "supported"} for prediction in PREDICTIONS]
    ledger.append("verdict", {"at": "end", "verdicts": verdicts})
    return folder


@pytest.fixture
def finished(_finished: Path, tmp_path: Path) -> Path:
    """A folder with two finished runs, two predictions with verdicts and a sealed study file."""
    return Path(shutil.copytree(_finished, tmp_path / "finished"))


@pytest.fixture
def rebuilt() -> Callable[[Path, Callable[[list[dict]], list[dict]]], None]:
    """What an attacker with all the code can do: change the entries, then seal the whole chain and HEAD anew."""

    def rebuild(folder: Path, change: Callable[[list[dict]], list[dict]]) -> None:
        entries = change([json.loads(line) for line in (folder / LEDGER).read_bytes().splitlines()])
        lines, previous = [], FIRST
        for seq, entry in enumerate(entries):
            lines.append(seal(entry["type"], entry["body"], seq=seq, ts=entry["ts"], prev=previous))
            previous = json.loads(lines[-1])["sha256"]
        (folder / LEDGER).write_bytes(b"".join(line + b"\n" for line in lines))
        (folder / HEAD).write_bytes(head_bytes(len(lines), previous))

    return rebuild
