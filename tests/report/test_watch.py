"""The terminal on a folder that another process writes: it shows, it ends with the study, it leaves a clean screen."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from leonids.report import watch as watching
from leonids.report.watch import watch
from leonids.study.conduct import judge_folder, write_verdicts
from leonids.study.folder import StudyFolder


def test_a_finished_study_is_said_at_once_with_every_verdict(
    whole: StudyFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    watch(whole.out)
    out = capsys.readouterr().out
    assert all(prediction.id in out for prediction in whole.study.predictions)
    assert "\x1b" not in out


def test_it_ends_when_the_last_verdicts_are_written(
    planted: Callable[..., StudyFolder], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from leonids.ledger.chain import Ledger

    folder = planted(progress=1.0, judged=False)
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        now, at = StudyFolder.open(folder.out), 0.3 if len(looks) == 1 else None
        write_verdicts(Ledger.open(folder.out), judge_folder(now, at=at), at=at)

    monkeypatch.setattr(watching, "time", SimpleNamespace(sleep=sleep))
    watch(folder.out)
    said = capsys.readouterr()
    assert len(looks) == 2
    assert "review at 30 %" in said.err
    assert "every run has reached its end" in said.out


def test_an_interrupt_leaves_the_terminal_as_it_was(planted: Callable[..., StudyFolder]) -> None:
    folder = planted(progress=0.3)
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "leonids", "watch", str(folder.out)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=True,
    )
    os.close(theirs)
    seen = b""
    try:
        seen = _until(ours, b"due then: P3")
        process.send_signal(signal.SIGINT)
        seen += _rest(ours)
        assert process.wait(30) == 130
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert b"\x1b[?25l" in seen
    assert seen.rindex(b"\x1b[?25h") > seen.rindex(b"\x1b[?25l"), "the cursor stays hidden"
    assert b"\x1b[?1049h" not in seen, "the screen was taken over"


def _until(descriptor: int, text: bytes) -> bytes:
    seen, end = b"", time.monotonic() + 60
    while text not in seen and time.monotonic() < end:
        if select.select([descriptor], [], [], 1.0)[0]:
            seen += os.read(descriptor, 65536)
    assert text in seen
    return seen


def _rest(descriptor: int) -> bytes:
    seen = b""
    while True:
        try:
            data = os.read(descriptor, 65536)
        except OSError:
            return seen
        if not data:
            return seen
        seen += data


def test_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    from leonids.errors import LeonidsError

    with pytest.raises(LeonidsError):
        watch(tmp_path)
