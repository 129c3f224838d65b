"""Held-out examples as the streams hold them: losses by role, tags, and the answer token by token."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from leonids.errors import LeonidsError, UsageError
from leonids.records import ANSWER_ROLES
from leonids.report.escape import visible
from leonids.report.findings import Findings
from leonids.spec import RunSpec
from leonids.study.folder import StudyFolder
from leonids.study.streams import Table
from leonids.web.shelf import Shelf

A_PAGE = 25
SPLITS = ("validation", "test")
FIRST_TAGS = ("skill", "depth")
MOST_TOKENS, MOST_CHARS = 400, 40
SHADES = (0.51, 0.70, 0.90, 0.99)
"""Where the colours of confidence change: at the borders of the phases, and where nearly no doubt is left."""

SEEN = {" ": "␣", "\n": "⏎", "\t": "⇥"}


@final
@dataclass(frozen=True, slots=True)
class Said:
    """One token of an answer: what the model is likeliest to write after the right tokens before it, and how sure.

    ``gold`` is the right token where the model would write another one, with its probability ``gold_confidence``.
    ``shade`` is the place of ``confidence`` among ``SHADES``.
    """

    text: str
    confidence: float
    shade: int
    gold: str | None
    gold_confidence: float


@final
@dataclass(frozen=True, slots=True)
class Row:
    """One held-out example at one review. Losses are nats per example; what was not measured is absent."""

    index: int
    right: bool | None
    loss: float | None
    floor: float | None
    roles: tuple[tuple[str, float, int], ...]
    tags: Mapping[str, str | int]
    tokens: tuple[Said, ...] = ()
    more_tokens: int = 0
    generated: str | None = None
    prompt: str = ""
    gold: str = ""
    redrawn: str = ""


def examples(shelf: Shelf, findings: Findings, query: Mapping[str, str]) -> Mapping[str, Any]:
    """Return held-out examples of a run at a review, wrong ones and large losses first, filtered by tags."""
    folder = StudyFolder(shelf.out, findings.folder.entries)
    runs = folder.runs
    run = runs[_whole(query, "run", most=len(runs) - 1)]
    split = query.get("split") or SPLITS[0]
    if split not in SPLITS:
        raise UsageError(f"split is {split[:40]!r}", rule=f"one of {', '.join(SPLITS)}")
    table = folder.table(run.run, split)
    steps = [] if table is None else np.unique(table.steps).tolist()
    review = _whole(query, "review", most=max(len(steps) - 1, 0), default=max(len(steps) - 1, 0))
    chosen = {"run": str(runs.index(run)), "split": split, "review": str(review)}
    found: dict[str, Any] = {"runs": runs, "splits": SPLITS, "steps": steps, "shades": SHADES, "chosen": chosen}
    if table is None or not steps:
        return {**found, "rows": [], "total": 0, "tags": {}, "page_count": 0, "page": 0}
    here = table.where(table.steps == steps[review])
    tags = _tags(here)
    wanted = {name: query[f"tag.{name}"] for name in tags if query.get(f"tag.{name}")}
    order = [at for at in _order(here) if all(str(here.tags[at].get(n, "")) == v for n, v in wanted.items())]
    page = _whole(query, "page", most=max((len(order) - 1) // A_PAGE, 0))
    lines = folder.streams(run.run).review(split, step=steps[review])
    rows = [_row(here, at, lines[int(here.keys[at])]) for at in order[page * A_PAGE : (page + 1) * A_PAGE]]
    return {
        **found,
        "chosen": {**chosen, **{f"tag.{name}": value for name, value in wanted.items()}},
        "rows": _redrawn(rows, run, split),
        "total": len(order),
        "tags": tags,
        "page_count": -(-len(order) // A_PAGE),
        "page": page,
    }


def _whole(query: Mapping[str, str], name: str, *, most: int, default: int = 0) -> int:
    text = query.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and len(text) < 7 and int(text) <= most):
        raise UsageError(f"{name} is {text[:40]!r}", rule=f"a whole number from 0 to {most}")
    return int(text)


def _tags(table: Table) -> dict[str, list[str]]:
    """Return the values of each tag that divides the examples."""
    given = {name for tags in table.tags for name in tags}
    names = [*(name for name in FIRST_TAGS if name in given), *sorted(given - set(FIRST_TAGS))]
    values = {name: sorted({str(tags[name]) for tags in table.tags if name in tags}) for name in names}
    return {name: found for name, found in values.items() if 1 < len(found) <= 100}


def _order(table: Table) -> list[int]:
    match, loss = table.pooled("match", "example"), table.pooled("loss", "answer")
    n = len(table.steps)
    right = np.zeros(n) if match is None else match[0]
    size = np.zeros(n) if loss is None else np.nan_to_num(loss[0], nan=np.inf)
    return [int(at) for at in np.lexsort((table.keys, -size, right))]


def _shown(text: str, *, last: bool = False) -> str:
    """Return a token's text with its spaces and line ends to be seen; a token without text ends the answer."""
    seen = "".join(SEEN.get(char, char) for char in text)
    return visible(seen, most=MOST_CHARS) or ("end" if last else "…")


def _tokens(answer: Mapping[str, Any]) -> tuple[Said, ...]:
    """Return an answer's tokens, as many as are shown, from its review line."""
    columns = [answer[name][:MOST_TOKENS] for name in ("gold", "said", "confidence", "gold_confidence")]
    last, found = len(answer["gold"]) - 1, []
    for at, (gold, said, sure, right) in enumerate(zip(*columns, strict=True)):
        known = _shown(gold, last=at == last)
        shade = sum(sure >= border for border in SHADES)
        found.append(Said(known if said is None else _shown(said, last=True), sure, shade,
                          None if said is None else known, right))  # fmt: skip
    return tuple(found)


def _row(table: Table, at: int, line: Mapping[str, Any]) -> Row:
    def total(metric: str, tokens: str) -> tuple[float, float] | None:
        pooled = table.pooled(metric, tokens)
        return None if pooled is None or not pooled[1][at] else (float(pooled[0][at]), float(pooled[1][at]))

    match, loss, floor = total("match", "example"), total("loss", "answer"), total("floor", "answer")
    answer = line.get("answer")
    by_role = ((role, total("loss", role)) for role in ANSWER_ROLES)
    return Row(
        index=int(table.keys[at]),
        right=None if match is None else match[0] > 0,
        loss=None if loss is None else loss[0],
        floor=None if floor is None else floor[0],
        roles=tuple((role, part[0], int(part[1])) for role, part in by_role if part is not None),
        tags=table.tags[at] if table.tags else {},
        tokens=_tokens(answer) if answer else (),
        more_tokens=max(len(answer["gold"]) - MOST_TOKENS, 0) if answer else 0,
        generated=line.get("generated"),
    )


def _redrawn(rows: list[Row], run: RunSpec, split: str) -> list[Row]:
    """Add prompt and right answer, drawn again from the universe of the plan; say so where they are other ones."""
    if run.universe is None:
        return rows
    from leonids.universe.universe import Universe  # noqa: PLC0415 - one of the pages draws examples, and no start

    universe = Universe(run.universe)
    found = []
    for row in rows:
        try:
            example = universe.example(split, run.data_seed, row.index)
        except LeonidsError as error:
            found.append(replace(row, redrawn=str(error)))
            continue
        if row.tags and dict(example.tags) != dict(row.tags):
            says = "this version of leonids draws another example here than the one that was measured"
            found.append(replace(row, redrawn=says))
        else:
            found.append(replace(row, prompt=example.prompt, gold=example.completion))
    return found
