"""Training streams as they grow: one metric of every step, read from where the last look ended.

Only what a chart asked for is kept, and only the last few metrics of all runs, so memory does not grow with looking.
Streams of hundreds of megabytes take a second or two: until they have been read, a curve has evenly spaced points.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from leonids.claims.metrics import DERIVED
from leonids.records import CELL_NAMES, CELLS
from leonids.spec import RunSpec
from leonids.study.streams import STEPS
from leonids.study.windows import parsed

Floats: TypeAlias = NDArray[np.float64]

MOST_METRICS = 4
CHUNK_BYTES = 1 << 20
REMEMBERED_BYTES = 80
"""How much of the end of what was read is compared at the next look: a stream's lines end with their hash."""

AT_ONCE_BYTES = 32 << 20
"""Streams up to this size together are read while a page waits."""

SKETCH_POINTS, SPACED_BYTES = 200, 4096
READ_AFTER_S = 0.5
"""How long reading waits, so that the page which asked is on the screen before."""

AXES: tuple[tuple[str, str], ...] = (
    ("step", "step"),
    ("progress", "progress, %"),
    ("examples", "examples seen"),
    ("tokens", "tokens in the loss, seen"),
    ("wall", "wall time of training, s"),
)
"""What a training curve can be drawn over, with the words for it."""

ADDED: Mapping[str, str] = {"examples": "examples", "wall": "wall_s"}
"""Axes that are sums over the steps so far, by the field that is added up."""


def _rows(path: Path, name: str, chunk: bytes) -> Floats:
    """Return a field of every step line, [lines, 1], or a metric: step, total and count by cell, [lines, 1 + 2 cells].

    What a line lacks is zero.
    """
    if name in ADDED.values():
        lines = (line for line in chunk.split(b"\n") if b'"kind":"step"' in line)
        texts = (line.partition(b'"%s":' % name.encode())[2].partition(b",")[0].rstrip(b"}") for line in lines)
        return np.array([float(text or 0) for text in texts], dtype=np.float64).reshape(-1, 1)
    found = parsed(chunk, name, path=path)
    rows = np.zeros((len(found.steps), 1 + 2 * len(CELL_NAMES)))
    rows[:, 0] = found.steps
    for role in found.totals:
        at = 1 + 2 * CELL_NAMES.index(role)
        rows[:, at], rows[:, at + 1] = found.totals[role], found.counts[role]
    return rows


def _pooled(rows: Floats, tokens: str) -> tuple[Floats, Floats]:
    at = [1 + 2 * CELL_NAMES.index(cell) for cell in CELLS[tokens]]
    return rows[:, at].sum(axis=1), rows[:, [place + 1 for place in at]].sum(axis=1)


def _curve(read: Callable[[str], Floats], metric: str, tokens: str, head: Mapping[str, float]) -> tuple[Floats, ...]:
    """Return step, total and count [n] of a metric; ``excess`` is loss minus floor minus the head's floor."""
    parts = [read(name) for name in DERIVED.get(metric, (metric,))]
    # A line may have been added between two looks.
    n = min(len(part) for part in parts)
    first, *others = (part[:n] for part in parts)
    total, count = _pooled(first, tokens)
    for other in others:
        total = total - _pooled(other, tokens)[0]
    for role in CELLS[tokens] if metric == "excess" else ():
        total = total - head.get(role, 0.0) * first[:, 2 + 2 * CELL_NAMES.index(role)]
    return first[:, 0], total, count


@dataclass(slots=True)
class _Growing:
    """One field of a growing stream, for every step line so far."""

    path: Path
    name: str
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
        return self.store[: self.n] if self.n else _rows(self.path, self.name, b"")

    def _take(self, whole: bytes) -> None:
        self.offset += len(whole)
        self.end = whole[-REMEMBERED_BYTES:]
        rows = _rows(self.path, self.name, whole)
        need = self.n + len(rows)
        if need > len(self.store) or self.store.shape[1] != rows.shape[1]:
            larger = np.zeros((max(need, 2 * len(self.store), 256), rows.shape[1]))
            larger[: self.n] = self.store[: self.n] if self.n else 0.0
            self.store = larger
        self.store[self.n : need] = rows
        self.n = need


@final
@dataclass(frozen=True, slots=True)
class Trained:
    """A metric at the training steps of a run: places ``x`` [n] on an axis and values ``y`` [n].

    Every recorded step is there, unless it is ``partial``: then points are evenly spaced, and none is more than read.
    """

    x: Floats
    y: Floats
    partial: bool = False


@final
class Series:
    """The training streams of a study's runs. Several threads may ask at once."""

    def __init__(self, out: Path, runs: Sequence[RunSpec]) -> None:
        self._runs = {run.run: run for run in runs}
        self._paths = {run.run: out / run.run / STEPS for run in runs}
        self._fields: OrderedDict[str, dict[str, _Growing]] = OrderedDict()
        self._whole: set[str] = set()
        self._reading: set[str] = set()
        self._lock = threading.Lock()

    def trained(
        self, run: str, *, metric: str, tokens: str, axis: str, head: Mapping[str, float], wait: bool = False
    ) -> Trained:
        """Return a run's training curve. ``excess`` is loss minus floor minus the ``head`` floor by role, nats.

        Where much is unread it is partial, and reading begins, unless it is to ``wait``.
        """
        names = _names(metric, axis)
        if not wait and not self._ready(names):
            return self._sketch(run, metric=metric, tokens=tokens, axis=axis, head=head)
        with self._lock:
            step, total, count = _curve(lambda name: self._field(name, run), metric, tokens, head)
            x = self._axis(run, axis, step)
        self._whole |= {name for name in names if len(self._fields.get(name, ())) == len(self._runs)}
        n = min(len(x), len(total))
        x, total, count = x[:n], total[:n], count[:n]
        there = count > 0
        return Trained(x[there], total[there] / count[there])

    def read(self, names: Sequence[str]) -> None:
        """Read fields of all runs, in seconds; others may ask meanwhile."""
        for run in self._runs:
            for name in names:
                with self._lock:
                    self._field(name, run)
        self._whole |= set(names)
        self._reading -= set(names)

    def _ready(self, names: Sequence[str]) -> bool:
        """Whether fields are read but for what was written of late; if not, have them read beside."""
        missing = [name for name in names if name not in self._whole]
        if not missing or sum(path.stat().st_size for path in self._paths.values() if path.is_file()) < AT_ONCE_BYTES:
            return True
        wanted = [name for name in missing if name not in self._reading]
        if wanted:
            self._reading |= set(wanted)
            reader = threading.Timer(READ_AFTER_S, self.read, (wanted,))
            reader.daemon = True
            reader.start()
        return False

    def _sketch(self, run: str, *, metric: str, tokens: str, axis: str, head: Mapping[str, float]) -> Trained:
        """Return evenly spaced points of a curve; none on an axis that is a sum over all steps."""
        nothing = np.zeros(0)
        if axis not in ("step", "progress") or not self._paths[run].is_file():
            return Trained(nothing, nothing, partial=True)
        text = _spaced_lines(self._paths[run])
        step, total, count = _curve(lambda name: _rows(self._paths[run], name, text), metric, tokens, head)
        there = count > 0
        return Trained(self._axis(run, axis, step)[there], total[there] / count[there], partial=True)

    def _field(self, name: str, run: str) -> Floats:
        """Return one field of a run's stream; the metrics longest unasked for are forgotten."""
        held = self._fields.setdefault(name, {})
        self._fields.move_to_end(name)
        metrics = [key for key in self._fields if key not in ADDED.values()]
        for key in metrics[:-MOST_METRICS]:
            del self._fields[key]
            self._whole.discard(key)
        if run not in held:
            held[run] = _Growing(self._paths[run], name)
        return held[run].read()

    def _axis(self, run: str, axis: str, step: Floats) -> Floats:
        if axis == "tokens":
            return np.cumsum(_pooled(self._field("loss", run), self._runs[run].loss_on)[1])
        if axis in ADDED:
            return np.cumsum(self._field(ADDED[axis], run)[:, 0])
        return 100.0 * step / self._runs[run].steps if axis == "progress" else step.copy()


def _names(metric: str, axis: str) -> tuple[str, ...]:
    """Return the fields that a metric over an axis is made of."""
    of = DERIVED.get(metric, (metric,))
    return tuple(dict.fromkeys((*of, *(("loss",) if axis == "tokens" else ()), *filter(None, (ADDED.get(axis),)))))


def _spaced_lines(path: Path) -> bytes:
    """Return whole lines from evenly spaced places of a file, none twice."""
    found: dict[int, bytes] = {}
    with path.open("rb", buffering=0) as handle:
        end = handle.seek(0, 2)
        for place in np.linspace(0, end, SKETCH_POINTS, endpoint=False).astype(np.int64).tolist():
            at, line = _line_after(handle.fileno(), place)
            if line:
                found[at] = line
    return b"".join(found.values())


def _line_after(descriptor: int, place: int) -> tuple[int, bytes]:
    """Return the first whole line that begins after a place, and where; nothing where there is none."""
    size = SPACED_BYTES
    while True:
        # One call, mostly: at each, the page may lose its turn to what is read beside.
        text = os.pread(descriptor, size, place)
        start = text.find(b"\n") + 1
        end = text.find(b"\n", start) + 1
        if start and end:
            return place + start, text[start:end]
        if len(text) < size:
            return place, b""
        size *= 2
