"""Where arms run: processes on this machine, a pass of several runs in each.

A worker is its own process with its own threads, and tells what it does through the run folders alone. So the
page can be killed, a worker can be killed, and what was written stays.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import final

from leonids.errors import OutputError, RunFailed
from leonids.spec import RunSpec
from leonids.train.passes import plan_passes

TICK_S = 0.25
GRACE_S = 120.0
"""How long workers may take to write their checkpoints after an interrupt."""


@final
@dataclass(frozen=True, slots=True)
class Worker:
    """A pass that is being trained: its process and where its messages go."""

    process: "subprocess.Popen[bytes]"
    log: Path
    runs: tuple[str, ...]


def cores() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def launch(
    runs: Sequence[RunSpec], *, out: Path, resume: bool, tick: Callable[[], None], backend: str = "native"
) -> None:
    """Train ``runs``, one process a core where there are passes enough, and call ``tick`` while they work.

    Raises ``RunFailed`` with a worker's own message when one fails (the others write a checkpoint and stop), and
    ``KeyboardInterrupt`` after an interrupt, once every worker has written its checkpoint.
    """
    workers = min(cores(), len(runs))
    passes = plan_passes(runs, workers=workers)
    threads = max(1, cores() // max(1, min(len(passes), cores())))
    waiting = [_write_pass(pass_runs, out=out, resume=resume, backend=backend, threads=threads) for pass_runs in passes]
    running: list[Worker] = []
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                running.append(_start(*waiting.pop(0), threads=threads))
            time.sleep(TICK_S)
            tick()
            for worker in [w for w in running if w.process.poll() is not None]:
                running.remove(worker)
                _check(worker)
        tick()
    finally:
        _stop(running)


def _write_pass(
    runs: Sequence[RunSpec], *, out: Path, resume: bool, backend: str, threads: int
) -> tuple[Path, tuple[str, ...]]:
    folder = out / "passes"
    names = tuple(run.run for run in runs)
    body = {
        "backend": backend,
        "out": str(out.resolve()),
        "resume": resume,
        "threads": threads,
        "runs": [run.model_dump(mode="json") for run in runs],
    }
    try:
        folder.mkdir(exist_ok=True)
        path = folder / f"{names[0]}.json"
        path.write_text(json.dumps(body), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {folder} ({error.strerror})", way_out="free the disk or choose --out") from None
    return path, names


def _start(path: Path, runs: tuple[str, ...], *, threads: int) -> Worker:
    environment = dict(os.environ)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        environment[name] = str(threads)
    environment["LEONIDS_PARENT"] = str(os.getpid())
    log = path.with_suffix(".log")
    with ExitStack() as stack:
        handle = stack.enter_context(log.open("wb"))
        process = subprocess.Popen(
            [sys.executable, "-m", "leonids.train.worker", str(path)],
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=handle,
            env=environment,
        )
    return Worker(process, log, runs)


def _check(worker: Worker) -> None:
    code = worker.process.returncode
    if code == 0:
        return
    lines = worker.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    last = lines[-1] if lines else "it said nothing"
    if code < 0:
        last = f"the process of {', '.join(worker.runs)} was ended by signal {-code} ({signal.Signals(-code).name})"
    if code in (130, -signal.SIGINT):
        raise KeyboardInterrupt
    raise RunFailed(last.removeprefix("error: "), exit_code=code if 0 < code < 5 else 1)


def _stop(running: Sequence[Worker]) -> None:
    """Ask the workers that are left to write a checkpoint and stop; end those that do not."""
    for worker in running:
        if worker.process.poll() is None:
            worker.process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + GRACE_S
    for worker in running:
        try:
            worker.process.wait(timeout=max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            worker.process.kill()
            worker.process.wait()
