"""Where arms run: processes on this machine, a pass of several runs in each.

A worker is its own process with its own threads, and tells what it does through the run folders alone. So the
page can be killed, a worker can be killed, and what was written stays.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import final

from leonids.errors import MissingDependency, OutputError, RunFailed
from leonids.gym.source import check_installed as gym_installed
from leonids.ledger.chain import chain_folder
from leonids.ledger.disk import make_folder, write_whole
from leonids.ledger.hashing import cores
from leonids.ledger.lines import MAIN
from leonids.ledger.runs import run_state
from leonids.ledger.writers import owner, run_ledger
from leonids.spec import RunSpec
from leonids.train.passes import depth_of, needs, plan_passes
from leonids.train.worker import INTERRUPTED, PARENT
from leonids.universe.splits import GYM

TICK_S = 0.25
GRACE_S = 120.0
"""How long workers may take to write their checkpoints after an interrupt."""

PASSES = "passes"
NEEDED = ("torch", "transformers", "peft")
NEEDED_IN_FULL = ("accelerate", "datasets", "trl")
"""What trains every weight."""


@final
@dataclass(frozen=True, slots=True)
class Pass:
    """Runs that are trained in one process with ``threads`` threads, by the back end of that name."""

    runs: tuple[RunSpec, ...]
    threads: int
    backend: str

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its runs; the first one names its file."""
        return tuple(run.run for run in self.runs)

    def __str__(self) -> str:
        """Say which runs share the pass, and how they are trained."""
        first = self.runs[0]
        if first.adapter.method == "full":
            how = "every weight (trl)"
        else:
            many = f"{len(self.runs)} adapters stacked" if self.runs[1:] else "one adapter"
            how = f"{many} on {first.base} ({self.backend})"
        after = f", after {first.start_from}" if first.start_from else ""
        seeds = Counter(run.arm for run in self.runs)
        names = (run.run if seeds[run.arm] == 1 else f"{run.arm} ({seeds[run.arm]} seeds)" for run in self.runs)
        return f"{', '.join(dict.fromkeys(names))}: {how}, one process, threads: {self.threads}{after}"


@final
@dataclass(frozen=True, slots=True)
class Worker:
    """A pass that is being trained: its process and where its messages go."""

    process: "subprocess.Popen[bytes]"
    log: Path
    runs: tuple[str, ...]


def check_installed(runs: Sequence[RunSpec] = (), *, splits: Iterable[str] = ()) -> None:
    """Raise ``MissingDependency`` where training ``runs`` or measuring on ``splits`` cannot work.

    It comes before anything is written.
    """
    full = any(run.adapter.method == "full" for run in runs)
    for name in (*NEEDED, *(NEEDED_IN_FULL if full else ())):
        if find_spec(name) is None:
            raise MissingDependency(
                f"the package {name!r} is not installed",
                rule="training needs it",
                way_out="pip install 'leonids[train]'",
            )
    if GYM in {*splits, *(split for run in runs for split in run.transfer)}:
        gym_installed()


@contextmanager
def rehearsal(runs: Sequence[RunSpec], *, out: Path, backend: str = "native") -> Iterator[Callable[[], None]]:
    """Try in a process of its own whether ``runs`` could begin, while the caller goes on.

    What is yielded waits for the answer and raises as ``launch`` would. Nothing is written into ``out``.
    """
    with TemporaryDirectory(prefix="leonids-") as folder:
        path = _write(Pass(tuple(runs), 1, backend), Path(folder), out=out, trial=True)
        worker = _start(Pass(tuple(runs), 1, backend), path)

        def answered() -> None:
            worker.process.wait()
            _check(worker, log_stays=False)

        try:
            yield answered
        finally:
            if worker.process.poll() is None:
                worker.process.kill()
                worker.process.wait()


def launch(
    runs: Sequence[RunSpec],
    *,
    out: Path,
    resume: bool,
    tick: Callable[[], None],
    planned: Callable[[Sequence[Pass]], None] = lambda _: None,
    backend: str = "native",
) -> None:
    """Train ``runs``, one process a core where there are passes enough, and call ``tick`` while they work.

    A resumed study keeps the passes and threads that it began with, whatever machine it goes on on: another
    grouping would round differently. Passes whose runs have all ended are left alone.

    ``planned`` hears which passes there are, in the order in which they may begin.

    Raises ``RunFailed`` with a worker's own message when one fails (the others write a checkpoint and stop), and
    ``KeyboardInterrupt`` after an interrupt or SIGTERM, once every worker has written its checkpoint.
    """
    passes = (_kept(runs, out=out) if resume else ()) or _planned(runs, backend)
    planned(passes)
    known = {run.run for run in runs}
    ended = {name for name in known if _finished(out, name)}
    waiting = [one for one in passes if not (resume and ended.issuperset(one.names))]
    files = {one.names: _write(one, _passes(out, one.runs), out=out, resume=resume) for one in waiting}
    running: list[Worker] = []
    with _terminated_as_interrupted():
        try:
            while waiting or running:
                ready = [one for one in waiting if not _awaited(one, known, ended, out=out)]
                for one in ready[: max(0, min(cores(), len(runs)) - len(running))]:
                    running.append(_start(one, files[one.names]))
                    waiting.remove(one)
                time.sleep(TICK_S)
                tick()
                for worker in [w for w in running if w.process.poll() is not None]:
                    running.remove(worker)
                    _check(worker)
                    ended.update(worker.runs)
            tick()
        finally:
            _stop(running)


def _finished(out: Path, run: str) -> bool:
    return run_state(run_ledger(out, run).entries(), run) == "finished"


def _awaited(one: Pass, known: Set[str], ended: Set[str], *, out: Path) -> bool:
    """Whether a pass starts from a run that is not finished, be it one of these or another writer's."""
    return any(
        name not in ended if name in known else bool(owner(out, name)) and not _finished(out, name)
        for name in needs(one.runs)
    )


def _passes(out: Path, runs: Sequence[RunSpec]) -> Path:
    """Return the folder that says which runs share a pass: their writer's, so that no machine writes another's."""
    return chain_folder(out, owner(out, runs[0].run) or MAIN) / PASSES


def _planned(runs: Sequence[RunSpec], backend: str) -> tuple[Pass, ...]:
    passes = plan_passes(runs, workers=min(cores(), len(runs)))
    depths = [depth_of(one[0], runs) for one in passes]
    # What waits for others shares the cores with those that wait as long.
    threads = {depth: max(1, cores() // count) for depth, count in Counter(depths).items()}
    return tuple(Pass(one, threads[depth], backend) for one, depth in zip(passes, depths, strict=True))


def _kept(runs: Sequence[RunSpec], *, out: Path) -> tuple[Pass, ...]:
    """Return the passes that the files in the folder name, or none where they do not name exactly these runs."""
    known = {run.run: run for run in runs}
    passes = []
    for path in sorted(_passes(out, runs).glob("*.json")):
        try:
            body = json.loads(path.read_text(encoding="utf-8"))
            own = tuple(known[run["run"]] for run in body["runs"])
            passes.append(Pass(own, int(body["threads"]), str(body["backend"])))
        except (OSError, ValueError, KeyError, TypeError):
            # Not a file of these runs: the grouping is planned anew.
            return ()
    names = [name for one in passes for name in one.names]
    passes.sort(key=lambda one: depth_of(one.runs[0], runs))
    return tuple(passes) if sorted(names) == sorted(known) else ()


def _write(one: Pass, folder: Path, *, out: Path, resume: bool = False, trial: bool = False) -> Path:
    body = {
        "backend": one.backend,
        "out": str(out.resolve()),
        "resume": resume,
        "trial": trial,
        "threads": one.threads,
        "runs": [run.model_dump(mode="json") for run in one.runs],
    }
    make_folder(folder)
    path = folder / f"{one.names[0]}.json"
    write_whole(path, json.dumps(body).encode())
    return path


def _start(one: Pass, path: Path) -> Worker:
    environment = dict(os.environ)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        environment[name] = str(one.threads)
    environment[PARENT] = str(os.getpid())
    log = path.with_suffix(".log")
    try:
        with log.open("wb") as handle:
            process = subprocess.Popen(
                [sys.executable, "-m", "leonids.train.worker", str(path)],
                stdin=subprocess.DEVNULL,
                stdout=handle,
                stderr=handle,
                env=environment,
                # Ctrl-C reaches every process of a terminal's group: a worker would be told twice, and the second
                # time ends it before its checkpoint is written. In a session of its own it is told by us, once.
                start_new_session=True,
            )
    except OSError as error:
        raise OutputError(f"cannot start a worker with {log} ({error.strerror})", way_out="free the disk") from None
    return Worker(process, log, one.names)


def _check(worker: Worker, *, log_stays: bool = True) -> None:
    """Raise what a worker that ended had to say, if it did not end well."""
    code = worker.process.returncode
    if code == 0:
        return
    if code in (INTERRUPTED, -signal.SIGINT):
        raise KeyboardInterrupt
    names = ", ".join(worker.runs)
    if code < 0:
        raise RunFailed(f"the process of {names} was ended by signal {-code} ({signal.Signals(-code).name})")
    said = worker.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    if not said:
        free_mib = shutil.disk_usage(worker.log.parent).free >> 20
        raise RunFailed(f"the process of {names} ended with {code} and no word ({free_mib} MiB of disk are free)")
    more = f" (all that it said: {worker.log})" if log_stays and len(said) > 1 else ""
    raise RunFailed(said[-1].removeprefix("error: ") + more, exit_code=code if code < 5 else 1)


def _stop(running: Sequence[Worker]) -> None:
    """Ask the workers that are left to write a checkpoint and stop; end those that do not, or at a second Ctrl-C."""
    try:
        for worker in running:
            if worker.process.poll() is None:
                worker.process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + GRACE_S
        for worker in running:
            try:
                worker.process.wait(timeout=max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                break
    finally:
        for worker in running:
            if worker.process.poll() is None:
                worker.process.kill()
                worker.process.wait()


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM, by which schedulers stop a job, stop the workers as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
