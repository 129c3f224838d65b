"""A study from its file to its report: what `leonids run` and `leonids demo` do."""

import os
import resource
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

from leonids.report.document import write_report
from leonids.report.explain import explain, lines
from leonids.report.live import Terminal
from leonids.report.tables import verdict_table
from leonids.spec import find_study, load_study
from leonids.study.conduct import conduct, judge_folder
from leonids.study.folder import StudyFolder
from leonids.study.plan import Choices, make_plan


def run_study(reference: str, *, out: Path, resume: bool, choices: Choices | None = None) -> None:
    """Register, train, judge and report a study, then print what it found to stdout.

    Raises ``LeonidsError``; an interrupt leaves a folder that ``--resume`` goes on with.
    """
    started = time.monotonic()
    path = find_study(reference)
    plan = make_plan(load_study(path), choices or Choices(), beside=path.parent)
    messages = Console(stderr=True, highlight=False)
    try:
        with Terminal() as terminal:
            folder = conduct(plan, out, resume=resume, watch=terminal)
    except KeyboardInterrupt:
        messages.print(Text(f"stopped; what was trained is kept: the same command with --resume goes on with {out}"))
        raise
    report = write_report(out)
    show(folder, report)
    peak_mib = (peak_kib(resource.RUSAGE_SELF) + peak_kib(resource.RUSAGE_CHILDREN)) / 1024
    print_line(
        f"wall {time.monotonic() - started:.0f} s, training {training_s(folder):.0f} s; "
        f"peak memory {peak_mib:.0f} MiB (this process and its largest child), {os.cpu_count()} cores"
    )


def print_line(text: str) -> None:
    """Print one line of text to stdout."""
    sys.stdout.write(text + "\n")


def peak_kib(who: int) -> float:
    """Return the greatest resident memory in KiB. macOS counts bytes, Linux KiB."""
    peak = resource.getrusage(who).ru_maxrss
    return peak / 1024 if sys.platform == "darwin" else peak


def training_s(folder: StudyFolder) -> float:
    """Return the longest wall time of a run: runs of one pass share theirs."""
    return max((folder.streams(run.run).wall_s for run in folder.runs), default=0.0)


def show(folder: StudyFolder, report: Path) -> None:
    """Print the explain lines of each arm's first run, the verdicts, and the report's path."""
    console = Console(highlight=False)
    first = {run.arm: run.run for run in reversed(folder.runs)}
    for run in (first[arm] for arm in dict.fromkeys(run.arm for run in folder.runs)):
        console.print(Text("\n".join(lines(explain(folder, run))) + "\n"))
    console.print(verdict_table(judge_folder(folder, at=None)))
    print_line(f"report: {report}")
