"""A run's streams as arrays: what the judge, the report and the page read."""

import re
from array import array
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from leonids.records import CELLS
from leonids.study.ahead import Ahead
from leonids.study.tiles import Tile, numbers_of, read_tile
from leonids.study.windows import Column, between, column, last_step, records_at, records_of, steps_of

Floats = NDArray[np.float64]
Steps = NDArray[np.int64]

STEPS, REVIEWS = "steps.jsonl", "reviews.jsonl"
MOST_TILES = 32
"""Of one run so many tiles, some 5 MB, are kept at most."""

PART_BYTES = 1 << 20
"""A stream is searched for its wall time in parts of so many bytes, and the rest of a line."""
WALL = re.compile(rb'"wall_s":([-+.\deE]+)[,}]')


@final
@dataclass(frozen=True, slots=True)
class Table:
    """Rows of totals and counts, by metric and role: each array is ``[n]``.

    A row is a training step, or a held-out example at a review. ``keys`` are example indexes, 0 for steps.
    """

    steps: Steps
    keys: Steps
    totals: Mapping[tuple[str, str], Floats]
    counts: Mapping[tuple[str, str], Floats]
    tags: tuple[Mapping[str, str | int], ...] = ()

    def pooled(self, metric: str, tokens: str) -> tuple[Floats, Floats] | None:
        """Return totals and counts ``[n]`` over a token set, or None where the metric was not measured."""
        present = [(metric, cell) for cell in CELLS[tokens] if (metric, cell) in self.totals]
        if not present:
            return None
        totals = np.sum([self.totals[key] for key in present], axis=0)
        counts = np.sum([self.counts[key] for key in present], axis=0)
        return totals, counts

    def where(self, keep: NDArray[np.bool_]) -> "Table":
        """Return the rows where ``keep`` [n] is true."""
        tags = tuple(tag for tag, kept in zip(self.tags, keep, strict=True) if kept) if self.tags else ()
        return Table(
            self.steps[keep],
            self.keys[keep],
            {key: values[keep] for key, values in self.totals.items()},
            {key: values[keep] for key, values in self.counts.items()},
            tags,
        )


FIRST_CONFIDENCE, FIRST_RIGHT = "first_confidence", "first_right"
"""Of the first decided token of an answer: the probability of the likeliest token there, and whether it is right."""


def _first_decided(line: dict[str, Any]) -> dict[str, dict[str, list[float]]]:
    answer = line.get("answer", {})
    place = answer.get("roles", "").find("d")
    if place < 0:
        return {}
    right = float(answer["said"][place] is None)
    return {FIRST_CONFIDENCE: {"decided": [answer["confidence"][place], 1]}, FIRST_RIGHT: {"decided": [right, 1]}}


@final
class _Rows:
    """A table as it is put together: a row a line, of which nothing else is kept."""

    def __init__(self) -> None:
        self._steps, self._keys, self._tags = array("q"), array("q"), list[Mapping[str, str | int]]()
        self._cells = defaultdict[str, defaultdict[str, _Cell]](lambda: defaultdict(_Cell))

    def add(self, line: dict[str, Any]) -> None:
        row = len(self._steps)
        self._steps.append(line["step"])
        self._keys.append(line.get("index", 0))
        self._tags.append(line.get("tags", {}))
        for metric, roles in (*line["metrics"].items(), *_first_decided(line).items()):
            cells = self._cells[metric]
            for role, pair in roles.items():
                cell = cells[role]
                cell.rows.append(row)
                cell.pairs += pair

    def table(self) -> Table:
        n, totals, counts = len(self._steps), {}, {}
        for metric, cells in self._cells.items():
            for role, cell in cells.items():
                # A total that is not finite is a text, which numpy reads.
                pairs, both = np.array(cell.pairs, dtype=np.float64), np.zeros((2, n))
                both[:, cell.rows] = pairs.reshape(-1, 2).T
                totals[metric, role], counts[metric, role] = both
        steps, keys = (np.array(values, dtype=np.int64) for values in (self._steps, self._keys))
        return Table(steps, keys, totals, counts, tuple(self._tags))


@final
class _Cell:
    """A metric and a role: the ``rows`` where it occurs, and of each its total and count, one after the other."""

    __slots__ = ("pairs", "rows")

    def __init__(self) -> None:
        self.rows, self.pairs = list[int](), list[float]()


def table_of(lines: Iterable[dict[str, Any]]) -> Table:
    """Return stream lines as a table. A metric that a line lacks counts nothing there."""
    rows = _Rows()
    for line in lines:
        rows.add(line)
    return rows.table()


@final
@dataclass(frozen=True)
class RunStreams:
    """The streams in a run's folder, read when first asked for."""

    folder: Path
    run: str = field(default="")
    ahead: Ahead = field(default_factory=Ahead)

    @cached_property
    def steps(self) -> Table:
        """Training steps: a row a step."""
        return table_of(line for line in records_of(self.folder / STEPS) if line.get("kind") == "step")

    @cached_property
    def _reviewed(self) -> tuple[Mapping[str, Table], tuple[dict[str, Any], ...]]:
        by_split, audits = defaultdict[str, _Rows](_Rows), list[dict[str, Any]]()
        # A long run's lines, kept as objects, would fill gigabytes.
        for line in records_of(self.folder / REVIEWS):
            if line.get("kind") == "observation":
                by_split[line["split"]].add(line)
            elif line.get("kind") == "review":
                audits.append(line)
        return {split: rows.table() for split, rows in by_split.items()}, tuple(audits)

    @property
    def observations(self) -> Mapping[str, Table]:
        """Held-out examples by split: a row an example and review."""
        return self._reviewed[0]

    @property
    def audits(self) -> tuple[dict[str, Any], ...]:
        """What each review said besides: its step, split and the audit by generation."""
        return self._reviewed[1]

    def review(self, split: str, *, step: int) -> Mapping[int, Mapping[str, Any]]:
        """Return the lines of one review, by the example's index."""
        return {
            line["index"]: line
            for line in records_at(self.folder / REVIEWS, step=step)
            if line.get("kind") == "observation" and line["split"] == split
        }

    @cached_property
    def wall_s(self) -> float:
        """Seconds spent in training steps so far; runs of one pass share theirs."""
        path = self.folder / STEPS
        if not path.is_file():
            return 0.0
        # By its text: a long run's lines, parsed, would fill gigabytes for one number.
        found = 0.0
        with path.open("rb") as handle:
            while part := handle.read(PART_BYTES) + handle.readline():
                found = sum(map(float, WALL.findall(part, 0, part.rfind(b"\n") + 1)), found)
        return found

    @cached_property
    def done_steps(self) -> int:
        """The last step that was written."""
        return last_step(self.folder / STEPS)

    @cached_property
    def _measured(self) -> dict[str, tuple[int, ...]]:
        return {}

    def measured_steps(self, split: str) -> tuple[int, ...]:
        """Return the steps at which a held-out split was measured, in order."""
        if split not in self._measured:
            self._measured[split] = steps_of(self.folder / REVIEWS, split=split)
        return self._measured[split]

    @cached_property
    def _columns(self) -> dict[tuple[str, str, int, int], Column]:
        return {}

    @cached_property
    def _tiles(self) -> OrderedDict[tuple[str, int], Column]:
        return OrderedDict()

    def window(self, split: str, metrics: Sequence[str], *, first_step: int, last_step: int) -> Table:
        """Return a split's rows of some metrics between two steps; only those lines of the stream are read."""
        columns = {metric: self._column(split, metric, first_step, last_step) for metric in metrics}
        rows = next(iter(columns.values()))
        return Table(
            steps=rows.steps,
            keys=rows.keys,
            totals={(metric, role): total for metric, c in columns.items() for role, total in c.totals.items()},
            counts={(metric, role): count for metric, c in columns.items() for role, count in c.counts.items()},
        )

    def _column(self, split: str, metric: str, first: int, last: int) -> Column:
        if split == "train":
            last = min(last, self.done_steps)
            tiles = [self._tile(metric, number) for number in numbers_of(first, last)]
            return between(tiles, first_step=first, last_step=last)
        # Many predictions ask for the same review.
        key = (split, metric, first, last)
        if key not in self._columns:
            path = self.folder / REVIEWS
            self._columns[key] = column(path, metric=metric, split=split, first_step=first, last_step=last)
        return self._columns[key]

    def _tile(self, metric: str, number: int) -> Column:
        """Return a metric's training rows, a tile of them: windows overlap, and a line is slow to read."""
        rows = self._tiles.pop((metric, number), None)
        tile = Tile(str(self.folder / STEPS), metric, number)
        if rows is None:
            rows = self.ahead.take(tile) or read_tile(tile)
        # A run that goes on may still fill the last one.
        if tile.last_step <= self.done_steps:
            self._tiles[metric, number] = rows
            if len(self._tiles) > MOST_TILES:
                self._tiles.popitem(last=False)
        return rows
