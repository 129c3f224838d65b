"""Training streams as they grow: one metric of every step, read from where the last look ended.

Only what a chart asked for is kept, and only the last few metrics of all runs, so memory does not grow with looking.
"""

import re
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from leonids.records import CELL_NAMES, CELLS
from leonids.spec import RunSpec
from leonids.study.streams import STEPS

Floats: TypeAlias = NDArray[np.float64]

MOST_METRICS = 4
CHUNK_BYTES = 4 << 20
REMEMBERED_BYTES = 80
"""How much of the end of what was read is compared at the next look: a stream's lines end with their hash."""

AXES: tuple[tuple[str, str], ...] = (
    ("step", "step"),
    ("progress", "progress, %"),
    ("examples", "examples seen"),
    ("tokens", "tokens in the loss, seen"),
    ("wall", "wall time of training, s"),
)
"""What a training curve can be drawn over, with the words for it."""

SCALARS: Mapping[str, re.Pattern[bytes]] = {
    name: re.compile(rf'"{name}":([-+.\deE]+)[,}}]'.encode()) for name in ("step", "examples", "wall_s")
}


def _pattern(metric: str) -> re.Pattern[bytes]:
    roles = "".join(rf'(?:"{role}":\[([^,\]]+),([^,\]]+)\],?)?' for role in CELL_NAMES)
    return re.compile(rf'"{re.escape(metric)}":\{{{roles}\}}'.encode())


def _number(text: bytes) -> float:
    # What is not finite is a text in the stream.
    return float(text.strip(b'"'))


def _rows(pattern: re.Pattern[bytes], lines: Sequence[bytes]) -> Floats:
    """Return the numbers of each line, [lines, groups]; what a line lacks is zero."""
    width = pattern.groups
    rows: list[tuple[bytes, ...]] = []
    for line in lines:
        found = pattern.search(line)
        rows.append((b"",) * width if found is None else found.groups(b""))
    flat = [_number(text) if text else 0.0 for row in rows for text in row]
    return np.array(flat, dtype=np.float64).reshape(len(lines), width)


@dataclass(slots=True)
class _Growing:
    """One field of a growing stream: ``rows`` [n, groups] for every step line so far."""

    path: Path
    pattern: re.Pattern[bytes]
    offset: int = 0
    end: bytes = b""
    n: int = 0
    store: Floats = field(default_factory=lambda: np.zeros((0, 0)))

    def read(self) -> Floats:
        """Take in what was written since the last call and return all rows."""
        if not self.path.is_file():
            self._anew()
            return self._seen()
        with self.path.open("rb") as handle:
            handle.seek(self.offset - len(self.end))
            if handle.read(len(self.end)) != self.end:
                # A resumed run cuts its stream back to a checkpoint, then writes on.
                self._anew()
                handle.seek(0)
            while chunk := handle.read(CHUNK_BYTES):
                whole = chunk[: chunk.rfind(b"\n") + 1]
                if not whole:
                    break
                self._take(whole)
                handle.seek(self.offset)
        return self._seen()

    def _anew(self) -> None:
        self.offset, self.end, self.n = 0, b"", 0

    def _seen(self) -> Floats:
        return self.store[: self.n] if self.n else np.zeros((0, self.pattern.groups))

    def _take(self, whole: bytes) -> None:
        self.offset += len(whole)
        self.end = whole[-REMEMBERED_BYTES:]
        rows = _rows(self.pattern, [line for line in whole.split(b"\n") if b'"kind":"step"' in line])
        need = self.n + len(rows)
        if need > len(self.store) or self.store.shape[1] != self.pattern.groups:
            larger = np.zeros((max(need, 2 * len(self.store), 256), self.pattern.groups))
            larger[: self.n] = self.store[: self.n] if self.n else 0.0
            self.store = larger
        self.store[self.n : need] = rows
        self.n = need


@final
@dataclass(frozen=True, slots=True)
class Trained:
    """A metric at every recorded training step of a run: places ``x`` [n] on an axis and values ``y`` [n]."""

    x: Floats
    y: Floats


@final
class Series:
    """The training streams of a study's runs. Several threads may ask at once."""

    def __init__(self, out: Path, runs: Sequence[RunSpec]) -> None:
        self._runs = {run.run: run for run in runs}
        self._paths = {run.run: out / run.run / STEPS for run in runs}
        self._fields: OrderedDict[str, dict[str, _Growing]] = OrderedDict()
        self._lock = threading.Lock()

    def trained(self, run: str, *, metric: str, tokens: str, axis: str, head: Mapping[str, float]) -> Trained:
        """Return a run's training curve. ``excess`` is loss minus floor minus the ``head`` floor by role, nats."""
        with self._lock:
            if metric == "excess":
                loss, floor = (self._pooled(run, name, tokens) for name in ("loss", "floor"))
                n = min(len(loss), len(floor))
                loss, floor = loss[:n], floor[:n]
                total, count = loss[:, 0] - floor[:, 0] - self._head(run, tokens, head)[:n], loss[:, 1]
            else:
                total, count = self._pooled(run, metric, tokens).T
            x = self._axis(run, axis)
        # A line may have been added between two looks.
        n = min(len(x), len(total))
        x, total, count = x[:n], total[:n], count[:n]
        there = count > 0
        return Trained(x[there], total[there] / count[there])

    def _field(self, name: str, run: str, pattern: re.Pattern[bytes]) -> Floats:
        """Return one field of a run's stream; the metrics longest unasked for are forgotten."""
        held = self._fields.setdefault(name, {})
        self._fields.move_to_end(name)
        metrics = [key for key in self._fields if key not in SCALARS]
        for key in metrics[:-MOST_METRICS]:
            del self._fields[key]
        if run not in held:
            held[run] = _Growing(self._paths[run], pattern)
        return held[run].read()

    def _metric(self, run: str, metric: str) -> Floats:
        return self._field(metric, run, _pattern(metric))

    def _pooled(self, run: str, metric: str, tokens: str) -> Floats:
        rows = self._metric(run, metric)
        at = [2 * CELL_NAMES.index(cell) for cell in CELLS[tokens]]
        total = rows[:, at].sum(axis=1)
        return np.stack([total, rows[:, [place + 1 for place in at]].sum(axis=1)], axis=1)

    def _head(self, run: str, tokens: str, head: Mapping[str, float]) -> Floats:
        rows = self._metric(run, "loss")
        parts = [head.get(role, 0.0) * rows[:, 2 * CELL_NAMES.index(role) + 1] for role in CELLS[tokens]]
        return np.asarray(np.sum(parts, axis=0))

    def _axis(self, run: str, axis: str) -> Floats:
        if axis == "tokens":
            return np.cumsum(self._pooled(run, "loss", self._runs[run].loss_on)[:, 1])
        name = {"examples": "examples", "wall": "wall_s"}.get(axis, "step")
        values = self._field(name, run, SCALARS[name])[:, 0]
        if axis == "progress":
            return 100.0 * values / self._runs[run].steps
        return values.copy() if name == "step" else np.cumsum(values)
