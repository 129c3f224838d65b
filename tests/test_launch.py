"""Workers are told once to stop, never outlive their reader, and their own words reach it; passes keep their shape."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from leonids import launch as launching
from leonids.errors import OutputError, RunFailed
from leonids.launch import launch
from leonids.ledger.chain import Ledger
from leonids.ledger.runs import RunWriter
from leonids.ledger.writers import claim_all
from leonids.spec import RunSpec, load_universe
from leonids.universe.blueprint import UniverseSpec

WORKER = """\
#!{python}
import json, os, pathlib, signal, sys, time

work = json.loads(pathlib.Path(sys.argv[-1]).read_text())
diary = pathlib.Path(work["out"]) / f"{{work['runs'][0]['run']}}.diary"


def note(**facts):
    with diary.open("a") as handle:
        handle.write(json.dumps(facts) + "\\n")


def asked(number, frame):
    note(told=number)


{body}
"""

STOPS_WHEN_TOLD = """\
signal.signal(signal.SIGINT, asked)
note(session=os.getsid(0), parent=os.environ["LEONIDS_PARENT"], threads=os.environ["OMP_NUM_THREADS"])
while "told" not in diary.read_text():
    time.sleep(0.01)
time.sleep(0.2)
sys.exit(130)
"""


@pytest.fixture(scope="module")
def universe() -> UniverseSpec:
    return load_universe("consistent")


@pytest.fixture
def runs(universe: UniverseSpec) -> list[RunSpec]:
    return [RunSpec(run=name, arm="a", universe=universe, base="b", steps=4, lr=0.1) for name in ("r1", "r2", "r3")]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    Ledger.open(tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def use(body: str) -> None:
        script = tmp_path / "worker"
        script.write_text(WORKER.format(python=sys.executable, body=body))
        script.chmod(0o755)
        monkeypatch.setattr(launching.sys, "executable", str(script))
        monkeypatch.setattr(launching, "TICK_S", 0.02)
        monkeypatch.setattr(launching, "cores", lambda: 2)

    return use


def diaries(out: Path) -> list[list[dict[str, Any]]]:
    return [[json.loads(line) for line in path.read_text().splitlines()] for path in sorted(out.glob("*.diary"))]


def passes(out: Path) -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in (out / "passes").glob("*.json")}


def names_in(body: dict[str, Any]) -> list[str]:
    return [run["run"] for run in body["runs"]]


def started(out: Path, count: int) -> Callable[[], bool]:
    return lambda: len(list(out.glob("*.diary"))) == count and all(diaries(out))


def interrupt_when(ready: Callable[[], bool], *, by: int) -> Callable[[], None]:
    sent: list[int] = []

    def tick() -> None:
        if ready() and not sent:
            sent.append(by)
            os.kill(os.getpid(), by)

    return tick


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_reaches_every_worker_once_and_waits_for_its_checkpoint(
    by: int, runs: Sequence[RunSpec], out: Path, worker: Callable[[str], None]
) -> None:
    worker(STOPS_WHEN_TOLD)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        launch(runs, out=out, resume=False, tick=interrupt_when(started(out, 2), by=by))
    assert signal.getsignal(signal.SIGTERM) is before
    for first, *rest in diaries(out):
        assert rest == [{"told": signal.SIGINT}]
        assert first["parent"] == str(os.getpid())
        # A terminal's Ctrl-C goes to a session's foreground group: a worker in it would be told twice.
        assert first["session"] != os.getsid(0)


def test_a_worker_that_does_not_stop_is_ended(
    runs: Sequence[RunSpec], out: Path, worker: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker("signal.signal(signal.SIGINT, asked)\nnote(process=os.getpid())\nwhile True: time.sleep(1)")
    monkeypatch.setattr(launching, "GRACE_S", 0.2)
    with pytest.raises(KeyboardInterrupt):
        launch(runs, out=out, resume=False, tick=interrupt_when(started(out, 2), by=signal.SIGINT))
    for first, *_ in diaries(out):
        with pytest.raises(ProcessLookupError):
            os.kill(first["process"], 0)


def test_a_second_interrupt_ends_the_workers_at_once(
    runs: Sequence[RunSpec], out: Path, worker: Callable[[str], None]
) -> None:
    worker("signal.signal(signal.SIGINT, asked)\nnote(process=os.getpid())\nwhile True: time.sleep(1)")

    def again() -> None:
        # Both workers were told once, so the launcher is waiting for them now.
        while [len(diary) for diary in diaries(out)] != [2, 2]:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    impatient = threading.Thread(target=again, daemon=True)
    impatient.start()
    with pytest.raises(KeyboardInterrupt):
        launch(runs, out=out, resume=False, tick=interrupt_when(started(out, 2), by=signal.SIGINT))
    impatient.join()
    for first_line, *_ in diaries(out):
        with pytest.raises(ProcessLookupError):
            os.kill(first_line["process"], 0)


@pytest.mark.parametrize(
    ("body", "words", "code"),
    [
        ("sys.exit('error: base x is no base: name another')", "base x is no base: name another", 1),
        ("sys.stderr.write('the ledger is broken'); sys.exit(3)", "the ledger is broken", 3),
        ("sys.exit(1)", "no word", 1),
        ("sys.exit(120)", "ended with 120 and no word", 1),
        ("os.kill(os.getpid(), signal.SIGKILL)", r"signal 9 \\(SIGKILL\\)", 1),
        ("raise ValueError('a bug')", r"ValueError: a bug \\(all that it said: .*\\.log\\)", 1),
    ],
)
def test_a_worker_that_fails_is_heard_and_the_others_are_told_to_stop(
    body: str, words: str, code: int, runs: Sequence[RunSpec], out: Path, worker: Callable[[str], None]
) -> None:
    waits = "\n".join(f"    {line}" for line in STOPS_WHEN_TOLD.splitlines())
    worker(f"if work['runs'][0]['run'] == 'r1':\n{waits}\nelse:\n    {body}")
    with pytest.raises(RunFailed, match=words.replace("\\\\", "\\")) as raised:
        launch(runs, out=out, resume=False, tick=lambda: None)
    assert raised.value.exit_code == code
    assert "\n" not in str(raised.value)


def test_a_resume_keeps_the_passes_and_threads_it_began_with(
    runs: Sequence[RunSpec], out: Path, worker: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker("note(done=True)")
    launch(runs, out=out, resume=False, tick=lambda: None)
    before = passes(out)
    assert sorted(name for body in before.values() for name in names_in(body)) == ["r1", "r2", "r3"]
    monkeypatch.setattr(launching, "cores", lambda: 8)
    launch(runs, out=out, resume=True, tick=lambda: None)
    assert passes(out) == {name: {**body, "resume": True} for name, body in before.items()}


def test_a_pass_whose_runs_have_ended_is_left_alone(
    runs: Sequence[RunSpec], out: Path, worker: Callable[[str], None]
) -> None:
    worker("note(done=True)")
    launch(runs, out=out, resume=False, tick=lambda: None)
    ended = next(body for body in passes(out).values() if "r1" in names_in(body))
    for name in names_in(ended):
        with RunWriter.create(out, name, {"run": name}, Ledger.open(out)) as writer:
            writer.finish()
    launch(runs, out=out, resume=True, tick=lambda: None)
    assert sorted(len(diary) for diary in diaries(out)) == [1, 2]


def test_pass_files_of_other_runs_are_planned_anew(
    runs: Sequence[RunSpec], out: Path, worker: Callable[[str], None]
) -> None:
    worker("note(done=True)")
    (out / "passes").mkdir()
    for name, text in (("other", json.dumps({"runs": [{"run": "x"}], "threads": 1, "backend": "n"})), ("torn", "{")):
        (out / "passes" / f"{name}.json").write_text(text)
        launch(runs, out=out, resume=True, tick=lambda: None)
        assert [len(diary) for diary in diaries(out)] == [1, 1]
        for path in out.glob("*.diary"):
            path.unlink()
        (out / "passes" / f"{name}.json").unlink()


def test_passes_that_cannot_be_written_are_an_output_error(
    runs: Sequence[RunSpec], out: Path, worker: Callable[[str], None]
) -> None:
    worker("note(done=True)")
    (out / "passes").write_text("a file in the way")
    with pytest.raises(OutputError, match="passes"):
        launch(runs, out=out, resume=False, tick=lambda: None)


def test_a_pass_begins_after_those_it_starts_from_also_on_resume_and_is_said_before(
    runs: Sequence[RunSpec], out: Path, worker: Callable[[str], None]
) -> None:
    worker("time.sleep(0.2)\nnote(ended=sorted(path.stem for path in diary.parent.glob('*.diary')))")
    first, *others = runs
    chained = [first.model_copy(update={"start_from": "r2"}), *others]
    said: list[str] = []
    for resume in (False, True):
        launch(chained, out=out, resume=resume, tick=lambda: None, planned=lambda all_: said.extend(map(str, all_)))
        assert "r2" in diaries(out)[0][-1]["ended"]
        for path in out.glob("*.diary"):
            path.unlink()
    assert [[*sorted(some[:2]), some[2]] for some in (said[:3], said[3:])] == 2 * [
        [
            "r2: one adapter on b (native), one process, threads: 1",
            "r3: one adapter on b (native), one process, threads: 1",
            "r1: one adapter on b (native), one process, threads: 2, after r2",
        ]
    ]


def test_a_pass_waits_for_what_it_starts_from_where_another_writer_trains_that(
    runs: Sequence[RunSpec], out: Path, worker: Callable[[str], None]
) -> None:
    worker("note(began=True)")
    claim_all(out, ["r2"], "two")
    other = RunWriter.create(out, "r2", {}, Ledger.open(out, writer="two"))
    ticks: list[bool] = []

    def tick() -> None:
        ticks.append(bool(list(out.glob("*.diary"))))
        if len(ticks) == 5:
            other.finish()

    launch([runs[0].model_copy(update={"start_from": "r2"})], out=out, resume=False, tick=tick)
    assert ticks[:5] == [False] * 5
    assert [line["began"] for line in diaries(out)[0]] == [True]
