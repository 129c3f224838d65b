"""Verdicts and arms for a terminal: a table where there is one, plain lines elsewhere.

Names are text: control characters and escape sequences in them are shown, never obeyed. Colour comes besides an
icon and a word, and not at all under NO_COLOR (Rich sees to that).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from leonids.claims.prediction import Prediction
from leonids.records import Verdict, Word
from leonids.report.claimed import COLOURS, found, word_of
from leonids.report.escape import visible

SCOPES = {"run": "this run", "seeds": "seeds"}

MOST_CHARS = 200


@final
@dataclass(frozen=True, slots=True)
class VerdictRow:
    """One verdict as texts that are safe to show; ``why`` is its reason and what would decide."""

    prediction: str
    word: Word
    shown: str
    found: str
    at: str
    scope: str
    grade: str
    why: str


def rows_of(verdicts: Sequence[Verdict], *, predictions: Sequence[Prediction] = ()) -> tuple[VerdictRow, ...]:
    """Return verdicts as rows; ``predictions`` give the numbers their units."""
    known = {prediction.id: prediction for prediction in predictions}
    return tuple(_row(verdict, known.get(verdict.prediction)) for verdict in verdicts)


def _row(verdict: Verdict, prediction: Prediction | None) -> VerdictRow:
    why = "; would decide: ".join(part for part in (verdict.reason, verdict.decides) if part)
    return VerdictRow(
        prediction=visible(verdict.prediction, most=64),
        word=verdict.word,
        shown=word_of(verdict),
        found=found(verdict, prediction),
        at=visible(verdict.at, most=32),
        scope=SCOPES.get(verdict.scope, visible(verdict.scope, most=32)),
        grade=verdict.grade,
        why=visible(why, most=MOST_CHARS),
    )


def verdict_table(verdicts: Sequence[Verdict], *, predictions: Sequence[Prediction] = ()) -> Table:
    """Return the verdicts as a table for Rich."""
    table = Table(pad_edge=False, box=None)
    for name in ("prediction", "verdict", "found", "at", "scope", "grade", "why"):
        table.add_column(name, overflow="fold")
    for row in rows_of(verdicts, predictions=predictions):
        cells = (row.found, row.at, row.scope, row.grade, row.why)
        word = Text(row.shown, style=COLOURS[row.word][0], no_wrap=True)
        table.add_row(Text(row.prediction), word, *(Text(cell) for cell in cells))
    return table


def verdict_lines(verdicts: Sequence[Verdict], *, predictions: Sequence[Prediction] = ()) -> list[str]:
    """Return the verdicts as plain lines, one each."""
    rows = rows_of(verdicts, predictions=predictions)
    width = max((len(row.prediction) for row in rows), default=0)
    return [
        f"{row.prediction:{width}}  {row.shown:14}  {row.found}, at {row.at}, {row.scope}, {row.grade}"
        + (f": {row.why}" if row.why else "")
        for row in rows
    ]


def print_verdicts(
    verdicts: Sequence[Verdict], *, predictions: Sequence[Prediction] = (), console: Console | None = None
) -> None:
    """Print the verdicts to a console (stdout where none is given): a table on a terminal, else plain lines."""
    shown = console or Console(highlight=False)
    if shown.is_terminal:
        shown.print(verdict_table(verdicts, predictions=predictions))
        return
    for line in verdict_lines(verdicts, predictions=predictions):
        shown.print(Text(line), soft_wrap=True)
