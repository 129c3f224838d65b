"""Parts of long streams: the lines of a window, and one metric out of them, without reading the rest.

A stream of 40,000 steps is some 40 MB, and a prediction asks for one metric in one window of it. Streams are
written in order of their steps, so a window is found by bisection; and their lines are canonical JSON, so a metric
is found by its text. What these functions return is what parsing every line would give.
"""

import mmap
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from leonids.ledger.disk import unreadable
from leonids.records import CELL_NAMES

Steps: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]

STEP = re.compile(rb'"step":(\d+)[,}]')
INDEX = re.compile(rb'"index":(\d+)[,}]')
SPACED = bytes.maketrans(b'[],}\n"', b"      ")
LINE = b"-1 0 0 "
"""Stands before a line's numbers where all lines are read at once; roles are their places in ``CELL_NAMES``."""


@final
@dataclass(frozen=True, slots=True)
class Column:
    """One metric in a window: ``[n]`` steps and keys, and totals and counts ``[n]`` of each role that occurs."""

    steps: Steps
    keys: Steps
    totals: dict[str, Floats]
    counts: dict[str, Floats]


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap | None]:
    """Give the file's bytes without reading them; None for a file that is empty or not there."""
    try:
        with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data
    except (FileNotFoundError, ValueError):
        yield None
    except OSError as error:
        raise unreadable(path, error) from None


def _end(data: mmap.mmap) -> int:
    """Return where the last complete line ends: what follows is being written right now."""
    return data.rfind(b"\n") + 1


def _step_from(data: mmap.mmap, at: int, end: int) -> tuple[int, int] | None:
    """Return the first line at or after the line start ``at`` that has a step: its start and its step."""
    while at < end:
        after = data.find(b"\n", at) + 1
        if found := STEP.search(data, at, after):
            return at, int(found[1])
        at = after
    return None


def _offset(data: mmap.mmap, step: int, end: int) -> int:
    """Return where the first line of ``step`` or a later step begins; ``end`` where there is none."""
    low, high = 0, end
    while low < high:
        middle = data.rfind(b"\n", low, (low + high) // 2) + 1 or low
        found = _step_from(data, middle, high)
        if found is None:
            high = middle
        elif found[1] < step:
            low = data.find(b"\n", found[0]) + 1
        else:
            high = middle
    return low


def last_step(path: Path, *, by: int | None = None) -> int:
    """Return the last step of a stream, or the last up to ``by``; 0 where there is none."""
    with _mapped(path) as data:
        if data is None:
            return 0
        end = _end(data)
        at = end if by is None else _offset(data, by + 1, end)
        while at > 0:
            start = data.rfind(b"\n", 0, at - 1) + 1
            if found := STEP.search(data, start, at):
                return int(found[1])
            at = start
    return 0


def steps_of(path: Path, *, split: str) -> tuple[int, ...]:
    """Return the steps at which examples of a held-out split were measured, in order."""
    found: list[int] = []
    with _mapped(path) as data:
        if data is None:
            return ()
        at, end = 0, _end(data)
        while (line := _step_from(data, at, end)) is not None:
            at = _offset(data, line[1] + 1, end)
            if _observations(data[line[0] : at], split):
                found.append(line[1])
    return tuple(found)


def _observations(chunk: bytes, split: str) -> list[bytes]:
    here = b'"split":"%s","step":' % split.encode()
    return [line for line in chunk.split(b"\n") if b'"kind":"observation"' in line and here in line]


def column(path: Path, *, metric: str, split: str, first_step: int, last_step: int) -> Column:
    """Return a metric's rows from ``first_step`` to ``last_step``: training steps, or a held-out split's examples."""
    with _mapped(path) as data:
        if data is None:
            return parsed(b"", metric, n=0)
        end = _end(data)
        start = _offset(data, first_step, end)
        chunk = data[start : _offset(data, last_step + 1, end)]
    if split != "train":
        lines = _observations(chunk, split)
        return parsed(b"\n".join(lines), metric, n=len(lines), keyed=True)
    n = chunk.count(b'"kind":"step"')
    if chunk.count(b"\n") != n:
        chunk = b"\n".join(line for line in chunk.split(b"\n") if b'"kind":"step"' in line)
    return parsed(chunk, metric, n=n)


def parsed(text: bytes, metric: str, *, n: int, keyed: bool = False) -> Column:
    """Return a metric's rows from the ``n`` lines of ``text``, each with a step; what a line lacks is zero.

    Passes in C over all lines at once: what is not finite is a text in them, and read as the number it names.
    """
    steps = _whole(STEP, b'"step":', text, n=n)
    keys = _whole(INDEX, b'"index":', text, n=n) if keyed else np.zeros(n, dtype=np.int64)
    name = b'"%s":{' % metric.encode()
    found = [part[: part.find(b"}") + 1] for part in text.split(name)[1:]]
    if len(found) != n:
        parts = (line.partition(name)[2] for line in text.splitlines())
        found = [part[: part.find(b"}") + 1] for part in parts]
    numbers = _numbers(LINE + (b"\n" + LINE).join(found)) if n else np.zeros((0, 3))
    line, role = np.cumsum(numbers[:, 0] == -1) - 1, numbers[:, 0].astype(np.int64)
    totals, counts = {}, {}
    for at, word in enumerate(CELL_NAMES):
        here = role == at
        if here.any():
            totals[word], counts[word] = np.zeros(n), np.zeros(n)
            totals[word][line[here]], counts[word][line[here]] = numbers[here, 1], numbers[here, 2]
    return Column(steps, keys, totals, counts)


def _numbers(rows: bytes) -> Floats:
    """Return role, total and count of every cell in order, [cells, 3]."""
    for at, role in enumerate(CELL_NAMES):
        rows = rows.replace(b'"%s":[' % role.encode(), b"%d " % at)
    return np.fromstring(rows.translate(SPACED).decode(), dtype=np.float64, sep=" ").reshape(-1, 3)


def _whole(pattern: re.Pattern[bytes], name: bytes, text: bytes, *, n: int) -> Steps:
    # Every line has one; where a line has two (in its tags), each line is searched for its first.
    found = [part[: part.find(b",")] for part in text.split(name)[1:]]
    if len(found) == n:
        return np.array(list(map(int, found)), dtype=np.int64)
    firsts = (pattern.search(line) for line in text.splitlines())
    return np.array([int(first[1]) if first else 0 for first in firsts], dtype=np.int64)
