"""Who stops a command is told what is left and what goes on with it."""

from pathlib import Path
from typing import Any

import pytest

from leonids.ledger.chain import Ledger
from leonids.report import conclude
from leonids.report.conclude import run_study


@pytest.mark.parametrize(
    ("resume", "said"),
    [(None, "the same command goes on with it"), (False, "the same command with --resume goes on with it")],
)
def test_an_interrupted_study_names_the_command_that_goes_on(
    resume: bool | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[bool] = []

    def interrupted(_: Any, out: Path, *, resume: bool, watch: Any) -> None:
        asked.append(resume)
        Ledger.open(out)
        raise KeyboardInterrupt

    monkeypatch.setattr(conclude, "conduct", interrupted)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run_study("smoke", out=tmp_path / "out", resume=resume)
        assert f"{tmp_path / 'out'}: {said}" in " ".join(capsys.readouterr().err.split())
    assert asked == ([False, True] if resume is None else [False, False])


def test_an_interrupt_before_anything_is_written_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(conclude, "conduct", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_study("smoke", out=tmp_path / "out", resume=None)
    assert "nothing was written" in capsys.readouterr().err
