"""The command line from end to end: real processes, real training of two arms on a tiny base."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leonids.ledger.chain import Ledger

Start = Callable[..., "subprocess.Popen[str]"]
Finish = Callable[["subprocess.Popen[str]"], tuple[int, str, str]]


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < until, "waited for two minutes"
        time.sleep(0.02)


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, pair_file: Path, start: Start, finish: Finish
) -> tuple[Path, str, str]:
    out = tmp_path_factory.mktemp("finished") / "out"
    code, printed, err = finish(start("run", pair_file, "--out", out))
    assert code == 0, err
    return out, printed, err


def test_a_study_ends_with_its_verdicts_and_the_path_of_its_report(finished: tuple[Path, str, str]) -> None:
    out, printed, err = finished
    assert all(name in printed for name in ("H.1", "H.2", f"report: {out / 'report.md'}", "wall", "peak memory"))
    assert "[TBD]" not in (out / "report.md").read_text()
    assert not any(noise in err for noise in ("Loading weights", "Traceback", "Warning"))


def test_every_verdict_of_a_finished_study_follows_from_its_files(
    finished: tuple[Path, str, str], start: Start, finish: Finish
) -> None:
    out = finished[0]
    code, printed, _ = finish(start("verify", out, "--rederive"))
    assert (code, "BROKEN" in printed) == (0, False)
    code, printed, err = finish(start("judge", out, "--json"))
    assert (code, err) == (0, "")
    written = [e.body["verdicts"] for e in Ledger.open(out).entries() if e.type == "verdict"]
    assert json.loads(printed) == json.loads(json.dumps(written[-1]))
    code, printed, err = finish(start("explain", out, "--json"))
    assert (code, err, len(json.loads(printed))) == (0, "", 2)


RUN = """\
run: one
arm: thin
universe: consistent
base: {base}
adapter: {{rank: 2, targets: [qproj]}}
steps: 4
lr: 0.01
"""


def short(base: Path, folder: Path) -> Path:
    """Copy a base with a context of 20 tokens."""
    shutil.copytree(base, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 20}))
    return folder


def test_what_a_base_cannot_do_is_refused_before_anything_is_locked(
    pair_file: Path, tiny_base: Path, tmp_path: Path, start: Start, finish: Finish
) -> None:
    study, tight, run = (tmp_path / name for name in ("study.yaml", "tight.yaml", "run.yaml"))
    text = pair_file.read_text()
    study.write_text(text.replace("thin: {rank: 2,", "thin: {rank: 2, targets: [qproj],"))
    tight.write_text(text.replace(str(tiny_base), str(short(tiny_base, tmp_path / "short"))))
    run.write_text(RUN.format(base=tiny_base))
    for command, file, words in (
        ("run", study, "no module named 'qproj'"),
        ("run", tight, "reads at most 20"),
        ("train", run, "no module named 'qproj'"),
    ):
        code, printed, err = finish(start(command, file, "--out", tmp_path / "out"))
        assert (code, printed) == (1, "")
        assert words in err.splitlines()[-1]
        assert "all that it said" not in err
        assert not (tmp_path / "out").exists()


def test_an_adapter_is_measured_without_noise(finished: tuple[Path, str, str], start: Start, finish: Finish) -> None:
    adapter = finished[0] / "wide.s0" / "adapter"
    code, printed, err = finish(start("eval", adapter, "--universe", "consistent", "-n", 5, "--json"))
    assert (code, err) == (0, "")
    assert json.loads(printed)["n"] == 5


def alive(out: Path) -> list[int]:
    """Return the workers of a folder that run, by their command lines."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if any(word.startswith(str(out).encode()) for word in words) and b"leonids.train.worker" in words:
            found.append(int(entry.name))
    return found


def reached(out: Path, step: int) -> Callable[[], bool]:
    path = out / "wide.s0" / "steps.jsonl"
    return lambda: path.is_file() and path.read_bytes().count(b"\n") > step


def test_a_study_that_is_stopped_and_killed_ends_with_the_same_adapters(
    finished: tuple[Path, str, str], pair_file: Path, tmp_path: Path, start: Start, finish: Finish
) -> None:
    out = tmp_path / "out"
    # As at a terminal: Ctrl-C goes to the whole group.
    process = start("run", pair_file, "--out", out, start_new_session=True)
    wait_for(reached(out, 3))
    os.killpg(process.pid, signal.SIGINT)
    code, _, err = finish(process)
    assert code == 130
    assert "--resume" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert alive(out) == []

    process = start("run", pair_file, "--out", out, "--resume")
    wait_for(reached(out, 14))
    process.kill()
    finish(process)
    wait_for(lambda: alive(out) == [])

    code, _, err = finish(start("run", pair_file, "--out", out, "--resume"))
    assert code == 0, err
    whole = files(finished[0])
    adapters = [name for name in whole if "/adapter/" in name]
    assert len(adapters) >= 4
    found = files(out)
    assert {name: found[name] for name in adapters} == {name: whole[name] for name in adapters}
    assert verdicts(out) == verdicts(finished[0])


def verdicts(out: Path) -> list[Any]:
    return [entry.body for entry in Ledger.open(out).entries() if entry.type == "verdict"]


def test_a_full_or_closed_stdout_is_no_traceback(start: Start, finish: Finish) -> None:
    with Path("/dev/full").open("w") as full:
        code, _, err = finish(start("sample", "consistent", "-n", "2000", stdout=full))
    assert (code, len(err.splitlines()), "No space left" in err) == (1, 1, True)
    with start("sample", "consistent", "-n", "100000") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
