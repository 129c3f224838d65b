"""From a file to what came of it: what `leonids run`, `leonids demo` and `leonids train` do."""

import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from leonids.ledger.hashing import cores
from leonids.ledger.lines import LEDGER
from leonids.report.document import write_report
from leonids.report.escape import for_terminal
from leonids.report.explain import explain, lines
from leonids.report.live import Terminal
from leonids.report.sampling import run_warnings
from leonids.report.tables import print_verdicts
from leonids.spec import find_study, load_run, load_study
from leonids.study.conduct import conduct, judge_folder
from leonids.study.folder import StudyFolder
from leonids.study.join import join
from leonids.study.plan import Choices, make_plan
from leonids.study.single import train_single

SAME = "the same command"


def run_study(reference: str, *, out: Path | None, resume: bool | None, choices: Choices | None = None) -> None:
    """Register, train, judge and report a study, then print what it found to stdout.

    ``out`` None is ``runs/<study>``; ``resume`` None goes on with a study that is there. Raises ``LeonidsError``; an
    interrupt leaves a folder that ``--resume`` goes on with, and says so.
    """
    started = time.monotonic()
    path = find_study(reference)
    study = load_study(path)
    plan = make_plan(study, choices or Choices(), beside=path.parent)
    sys.stderr.writelines(f"{for_terminal(warning)}\n" for warning in run_warnings(plan.runs))
    folder = out or Path("runs") / study.study
    try:
        with Terminal() as terminal:
            there = (folder / LEDGER).is_file()
            done = conduct(plan, folder, resume=there if resume is None else resume, watch=terminal)
    except KeyboardInterrupt:
        say_stopped(folder, way_on=SAME if resume is None else f"{SAME} with --resume")
        raise
    report = write_report(folder)
    show(done, report)
    peak_mib = (peak_kib(resource.RUSAGE_SELF) + peak_kib(resource.RUSAGE_CHILDREN)) / 1024
    print_line(
        f"wall {time.monotonic() - started:.0f} s, training {training_s(done):.0f} s; "
        f"peak memory {peak_mib:.0f} MiB (this process and its largest child), {cores()} cores"
    )


def join_study(folder: Path, *, writer: str, arms: Sequence[str]) -> None:
    """Train arms of the study in a folder as one of its writers; print the runs to stdout. Raises ``LeonidsError``."""
    try:
        with Terminal() as terminal:
            runs = join(folder, writer=writer, arms=arms, watch=terminal)
    except KeyboardInterrupt:
        say_stopped(folder, way_on=SAME)
        raise
    for run in runs:
        print_line(run.run)


def train_run(path: Path, *, out: Path, resume: bool) -> None:
    """Train the run of a file and print the adapter's folder to stdout. Raises ``LeonidsError``."""
    sys.stderr.writelines(f"{for_terminal(warning)}\n" for warning in run_warnings([load_run(path)]))
    try:
        with Terminal() as terminal:
            adapter = train_single(path, out=out, resume=resume, moved=terminal.moved, planned=terminal.grouped)
    except KeyboardInterrupt:
        say_stopped(out, way_on=f"{SAME} with --resume")
        raise
    print_line(str(adapter))


def say_stopped(out: Path, *, way_on: str) -> None:
    """Say on stderr what an interrupt left, and how to go on."""
    if (out / LEDGER).is_file():
        text = f"stopped; what was trained is kept in {out}: {way_on} goes on with it"
    else:
        text = "stopped; nothing was written"
    sys.stderr.write(for_terminal(text) + "\n")


def print_line(text: str) -> None:
    """Print text to stdout."""
    sys.stdout.write(for_terminal(text) + "\n")


def peak_kib(who: int) -> float:
    """Return the greatest resident memory in KiB. macOS counts bytes, Linux KiB."""
    peak = resource.getrusage(who).ru_maxrss
    return peak / 1024 if sys.platform == "darwin" else peak


def training_s(folder: StudyFolder) -> float:
    """Return the longest wall time of a run: runs of one pass share theirs."""
    return max((folder.streams(run.run).wall_s for run in folder.runs), default=0.0)


def show(folder: StudyFolder, report: Path) -> None:
    """Print the explain lines of each arm's first run, the verdicts, and the report's path."""
    first = {run.arm: run.run for run in reversed(folder.runs)}
    for run in (first[arm] for arm in dict.fromkeys(run.arm for run in folder.runs)):
        print_line("\n".join(lines(explain(folder, run))) + "\n")
    print_verdicts(judge_folder(folder, at=None), predictions=folder.study.predictions)
    print_line(f"report: {report}")
