"""``python -m leonids.train.worker PASS.json``: train one pass in a process of its own.

PASS.json holds ``backend``, ``out``, ``resume``, ``trial``, ``threads`` and ``runs``, a list of run specifications.
Exit codes are those of the command line. torch is loaded only after the arguments are known to be good.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from leonids.errors import LeonidsError, SpecError, UsageError
from leonids.floor.base_files import find_base
from leonids.spec import Model, RunSpec, read_text, validate
from leonids.train.backend import BACKENDS, load_backend

INTERRUPTED = 130
PARENT = "LEONIDS_PARENT"
PARENT_TICK_S = 0.2


class PassSpec(Model):
    """One pass: the runs, the back end that trains them, where to, and the threads of the process.

    A ``trial`` only finds out whether its runs, which may be of several passes, could begin.
    """

    backend: str = "native"
    out: str
    resume: bool = False
    trial: bool = False
    threads: Annotated[int, Field(ge=1)] = 1
    runs: tuple[RunSpec, ...]


def main(arguments: list[str]) -> int:
    """Train the pass of a file; return the exit code."""
    try:
        if len(arguments) != 1:
            raise UsageError(f"{len(arguments)} arguments", rule="usage: python -m leonids.train.worker PASS.json")
        work = validate(PassSpec, read_pass(Path(arguments[0])), name=arguments[0])
        if work.backend not in BACKENDS:
            raise UsageError(f"no back end named {work.backend!r}", rule=f"back ends are {', '.join(BACKENDS)}")
        for name in sorted({run.base for run in work.runs}):
            find_base(name)
        follow_parent()
        train(work)
    except LeonidsError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; resume goes on from the last checkpoint\n")
        return INTERRUPTED
    return 0


def read_pass(path: Path) -> Any:
    """Return the value of a JSON file. Raises ``SpecError``."""
    try:
        return json.loads(read_text(path))
    except ValueError as error:
        raise SpecError(f"{path} is not JSON ({error})", rule="a pass is a JSON file") from error


def follow_parent() -> None:
    """End this process when the one that started it (``LEONIDS_PARENT``) is gone: nobody would read on.

    What was written stays, as after any kill; resume goes on from the last checkpoint.
    """
    parent = os.environ.get(PARENT)
    if parent is None:
        return

    def watch() -> None:
        while os.getppid() == int(parent):
            time.sleep(PARENT_TICK_S)
        os._exit(INTERRUPTED)

    threading.Thread(target=watch, daemon=True).start()


def train(work: PassSpec) -> None:
    """Train a pass in this process. Runs that train every weight go to the back end trl, whatever is named."""
    # Threads that wait by spinning make a step twenty times slower as soon as another process wants the cores. The
    # OpenMP library reads this once, when torch loads it.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch  # noqa: PLC0415
    from transformers.utils import logging  # noqa: PLC0415

    torch.set_num_threads(work.threads)
    logging.disable_progress_bar()
    # A pass has one method; only a trial may have both.
    full, rest = (tuple(run for run in work.runs if (run.adapter.method == "full") == every) for every in (True, False))
    for name, runs in (("trl", full), (work.backend, rest)):
        if runs and work.trial:
            load_backend(name).check(runs, out=Path(work.out))
        elif runs:
            load_backend(name).fit(runs, out=Path(work.out), resume=work.resume)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
