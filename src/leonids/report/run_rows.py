"""Explained runs as rows of a table: a page shows them, and loads nothing that draws in a terminal."""

from collections.abc import Sequence

from leonids.report.escape import visible
from leonids.report.explain import Explanation
from leonids.report.numbers import Missing, ends


def run_rows(explanations: Sequence[Explanation]) -> tuple[tuple[str, ...], ...]:
    """Return explained runs as rows of texts."""
    rows = []
    for one in explanations:
        part = one.all if one.loss_on == "all" else one.answer
        excess = None if isinstance(one.answer, Missing) else one.answer.excess
        match = one.match
        rows.append((
            visible(one.run, most=64),
            f"{one.done_steps}/{one.planned_steps}",
            "-" if isinstance(part, Missing) else f"{part.loss.estimate:.3f}",
            "-" if excess is None else f"{excess.estimate:.3f} ({ends(excess)})",
            "-" if isinstance(match, Missing) else f"{100 * match.estimate:.1f} % ({ends(match, scale=100, places=1)})",
            "-" if isinstance(one.phase, Missing) else one.phase.word,
        ))  # fmt: skip
    return tuple(rows)
