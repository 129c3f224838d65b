"""What the terminal shows while a study runs: a line a run, and the verdict table at each review."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import final

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from leonids.launch import Pass
from leonids.records import Verdict
from leonids.report.linting import power_lines
from leonids.report.tables import print_verdicts
from leonids.study.folder import StudyFolder
from leonids.study.plan import Plan
from leonids.study.progress import RunProgress

PLAIN_EVERY_S = 15.0


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _eta(run: RunProgress) -> str:
    if not run.step or run.step >= run.steps:
        return "done" if run.steps and run.step >= run.steps else "-"
    return f"{run.wall_s / run.step * (run.steps - run.step):.0f} s"


def progress_table(runs: Sequence[RunProgress]) -> Table:
    """Return one row a run: step, loss and excess of the answer (nats/token), last match, speed, time left."""
    table = Table(box=None, pad_edge=False)
    for name in ("run", "step", "loss", "excess", "match", "examples/s", "left"):
        table.add_column(name, justify="left" if name == "run" else "right", no_wrap=True)
    for run in runs:
        speed = run.examples / run.wall_s if run.wall_s > 0 else None
        table.add_row(
            Text(run.run),
            f"{run.step}/{run.steps}",
            _figure(run.loss_nats, ".3f"),
            _figure(run.excess_nats, ".3f"),
            _figure(run.match_frac, ".1%"),
            _figure(speed, ".0f"),
            _eta(run),
        )
    return table


@final
class Terminal:
    """Shows a study on stderr: a live table on a terminal, plain lines elsewhere. A ``study.conduct.Watch``."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._live: Live | None = None
        self._said_at = time.monotonic()
        self._shown: dict[str, Verdict] = {}

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def registered(self, plan: Plan, out: Path) -> None:
        """Say what is locked and what will run."""
        console = self._console
        console.print(Text(f"{len(plan.predictions)} predictions locked in {out / 'ledger.jsonl'}"))
        for line in power_lines(plan.study, plan.runs):
            console.print(Text(line), soft_wrap=True)
        console.print(
            Text(f"training {len(plan.runs)} runs of {len(plan.arms)} arms on {plan.base}, {plan.runs[0].steps} steps")
        )

    def grouped(self, passes: Sequence[Pass]) -> None:
        """Say which runs are trained together, and how."""
        for number, one in enumerate(passes, 1):
            self._console.print(Text(f"pass {number} of {len(passes)}: {one}"), soft_wrap=True)

    def moved(self, runs: Sequence[RunProgress]) -> None:
        """Show where the runs are."""
        if self._live is None and self._console.is_terminal:
            self._live = Live(console=self._console, refresh_per_second=4, transient=True)
            self._live.start()
        if self._live is not None:
            self._live.update(progress_table(runs))
        elif time.monotonic() - self._said_at >= PLAIN_EVERY_S:
            self._said_at = time.monotonic()
            for run in runs:
                match = "" if run.match_frac is None else f" match {run.match_frac:.1%}"
                self._console.print(
                    Text(f"{run.run} step {run.step}/{run.steps} loss {_figure(run.loss_nats, '.3f')}{match}")
                )

    def reviewed(self, folder: StudyFolder, at: float, verdicts: Sequence[Verdict]) -> None:
        """Show the verdicts that a review brought."""
        due = [verdict for verdict in verdicts if verdict.word != "not_due"]
        left = len(verdicts) - len(due)
        self._console.print(Text(f"review at {at:.0%}: {len(due)} judged, {left} not due yet"))
        new = [verdict for verdict in due if self._shown.get(verdict.prediction) != verdict]
        self._shown |= {verdict.prediction: verdict for verdict in new}
        if new and at < 1.0:
            print_verdicts(new, predictions=folder.study.predictions, console=self._console)
