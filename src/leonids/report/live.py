"""What a terminal shows while a study runs: what comes next, a line an arm, the verdict table at each review."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import final

from rich.cells import cell_len
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from leonids.claims.evidence import step_at
from leonids.launch import Pass
from leonids.records import Verdict
from leonids.report.escape import for_terminal, visible
from leonids.report.findings import due_by_review
from leonids.report.linting import power_lines
from leonids.report.numbers import percent
from leonids.report.tables import print_verdicts
from leonids.spec import StudySpec
from leonids.study.folder import StudyFolder
from leonids.study.plan import Plan
from leonids.study.progress import ArmProgress, RunProgress, arms_of

PLAIN_EVERY_S, QUIET_S = 15.0, 60.0
"""Without a terminal: how far apart lines on the same arm are at least, and how long nothing is said at most."""

PLAIN_PARTS = 10
"""Into how many parts an arm's steps fall; without a terminal each one is said once."""

GAP, MOST_NAME = 2, 24


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def duration(seconds: float) -> str:
    """Return a time to wait as a person says it.

    >>> duration(42), duration(400), duration(9000)
    ('42 s', '7 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


def _left(arm: ArmProgress) -> str:
    if arm.done_frac >= 1.0:
        return "done"
    return "-" if arm.left_s is None else duration(arm.left_s)


COLUMNS: tuple[tuple[str, int, Callable[[ArmProgress], str]], ...] = (
    ("arm", 0, lambda arm: visible(arm.arm, most=MOST_NAME)),
    ("step", 1, lambda arm: arm.step_range),
    ("loss", 2, lambda arm: _figure(arm.mean("loss_nats"), ".3f")),
    ("floor", 6, lambda arm: _figure(arm.mean("floors_nats"), ".3f")),
    ("excess", 5, lambda arm: _figure(arm.mean("excess_nats"), ".3f")),
    ("match", 3, lambda arm: _figure(arm.mean("match_frac"), ".1%")),
    ("tokens/s", 7, lambda arm: _figure(arm.tokens_s, ",.0f")),
    ("left", 4, _left),
)
"""Head, rank and cell of each column; a terminal that is too narrow goes without those of the highest rank."""


def progress_table(arms: Sequence[ArmProgress], *, width: int, height: int) -> Group:
    """Return one row an arm, as many columns as ``width`` holds, and at most ``height`` lines.

    Loss, floor and excess are nats per answer token; the floor is that of the data and of the head. Where rows have
    to go, those of arms that are being trained stay.
    """
    kept = list(arms)
    if len(arms) + 1 > height:
        room = max(height - 2, 1)
        ranked = sorted(arms, key=lambda arm: (not arm.active, arm.done_frac >= 1.0))[:room]
        kept = [arm for arm in arms if arm in ranked]
    cells = {head: [cell(arm) for arm in kept] for head, _, cell in COLUMNS}
    wide = {head: max(cell_len(text) for text in (head, *texts)) for head, texts in cells.items()}
    shown = [head for head, _, _ in sorted(COLUMNS, key=lambda column: column[1])]
    while len(shown) > 1 and sum(wide[head] + GAP for head in shown) - GAP > width:
        shown.pop()
    heads = [head for head, _, _ in COLUMNS if head in shown]
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0))
    for head in heads:
        table.add_column(head, justify="left" if head == "arm" else "right", no_wrap=True, overflow="ellipsis")
    for row in zip(*(cells[head] for head in heads), strict=True):
        table.add_row(*(Text(cell) for cell in row))
    more = [Text(f"and {len(arms) - len(kept)} arms more")] if len(kept) < len(arms) else []
    return Group(table, *more)


def next_lines(study: StudySpec, runs: Sequence[RunProgress]) -> list[str]:
    """Return the first review that not every run has passed, and which predictions fall due there."""
    for review, due in due_by_review(study):
        waiting = [run for run in runs if run.step < step_at(review, planned_steps=run.steps)]
        if waiting:
            names = ", ".join(visible(prediction.id, most=MOST_NAME) for prediction in due) or "nothing"
            return [f"next review: {100 * review:g} %, {len(waiting)} of {len(runs)} runs to go", f"due then: {names}"]
    return ["every run has passed its last review"]


def arm_line(arm: ArmProgress) -> str:
    """Return where an arm is as one line of words."""
    loss, floor, excess = (arm.mean(name) for name in ("loss_nats", "floors_nats", "excess_nats"))
    said = [f"{visible(arm.arm, most=MOST_NAME)}: step {arm.step_range}"]
    if loss is not None:
        made = "" if floor is None or excess is None else f" = {floor:.3f} floor + {excess:.3f} excess"
        said.append(f"answer loss {loss:.3f}{made}")
    match = arm.mean("match_frac")
    said += [] if match is None else [f"match {percent(match)}"]
    said += [] if arm.tokens_s is None else [f"{arm.tokens_s:,.0f} tokens/s"]
    said += [] if arm.left_s is None else [f"{duration(arm.left_s)} left"]
    return ", ".join(said)


@final
class Terminal:
    """Shows a study on stderr: a live table on a terminal, plain lines elsewhere. A ``study.conduct.Watch``."""

    def __init__(self, study: StudySpec | None = None) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._study = study
        self._live: Live | None = None
        self._said_at = self._looked_at = time.monotonic()
        self._said: dict[str, int] = {}
        self._shown: dict[str, Verdict] = {}

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def _print(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._console.print(Text(for_terminal(line)), soft_wrap=True)

    def registered(self, plan: Plan, out: Path) -> None:
        """Say what is locked and what will run."""
        self._study = plan.study
        self._print([
            f"{len(plan.predictions)} predictions locked in {out / 'ledger.jsonl'}",
            *power_lines(plan.study, plan.runs),
            f"training {len(plan.runs)} runs of {len(plan.arms)} arms on {plan.base}, {plan.runs[0].steps} steps",
        ])  # fmt: skip

    def grouped(self, passes: Sequence[Pass]) -> None:
        """Say which runs are trained together, and how."""
        self._print(f"pass {number} of {len(passes)}: {one}" for number, one in enumerate(passes, 1))

    def waiting(self, runs: Mapping[str, str]) -> None:
        """Say whose runs are waited for."""
        self._print([f"waiting for other writers: {', '.join(f'{run} ({name})' for run, name in runs.items())}"])

    def moved(self, runs: Sequence[RunProgress]) -> None:
        """Show where the runs are."""
        if self._console.is_terminal:
            if self._live is None:
                self._live = Live(console=self._console, refresh_per_second=4, transient=True)
                self._live.start()
            self._live.update(self._screen(runs))
        elif time.monotonic() - self._looked_at >= PLAIN_EVERY_S:
            self._looked_at = time.monotonic()
            self._print(self._news(runs))

    def _screen(self, runs: Sequence[RunProgress]) -> Group:
        width, height = self._console.size
        said = [f"{sum(run.step >= run.steps for run in runs)} of {len(runs)} runs done"]
        if self._study is not None:
            said += next_lines(self._study, runs)
        lines = [Text(line, no_wrap=True, overflow="ellipsis") for line in said]
        return Group(*lines, progress_table(arms_of(runs), width=width, height=height - len(lines) - 1))

    def _news(self, runs: Sequence[RunProgress]) -> list[str]:
        """Return a line an arm that has come a good part further since its last one; a sign of life where none has."""
        parts = {arm.arm: int(PLAIN_PARTS * arm.done_frac) for arm in arms_of(runs)}
        news = [arm_line(arm) for arm in arms_of(runs) if parts[arm.arm] > self._said.get(arm.arm, 0)]
        self._said = parts
        now = time.monotonic()
        if not news and now - self._said_at < QUIET_S:
            return []
        self._said_at = now
        done = sum(run.step for run in runs) / sum(run.steps for run in runs)
        ended = sum(run.step >= run.steps for run in runs)
        return news or [f"at work: {percent(done)} of all steps, {ended} of {len(runs)} runs done"]

    def reviewed(self, folder: StudyFolder, at: float, verdicts: Sequence[Verdict]) -> None:
        """Show the verdicts that a review brought."""
        due = [verdict for verdict in verdicts if verdict.word != "not_due"]
        self._print([f"review at {100 * at:g} %: {len(due)} judged, {len(verdicts) - len(due)} not due yet"])
        new = [verdict for verdict in due if self._shown.get(verdict.prediction) != verdict]
        self._shown |= {verdict.prediction: verdict for verdict in new}
        if new and at < 1.0:
            print_verdicts(new, predictions=folder.study.predictions, console=self._console)
