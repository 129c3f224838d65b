"""Training rows read ahead of the judge, by a process beside it.

To read half a million lines takes a core some seconds, and a judge has nothing to do meanwhile. So a process beside it
begins with the tiles that will be asked for last. Each of the two says in a shared file what it has begun with, and
neither waits for the other: what the caller asks for is either there, or read by the caller. Without that process
everything is as it would be, only later.
"""

import json
import os
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, final

from leonids.claims.evidence import step_at
from leonids.claims.metrics import DERIVED
from leonids.claims.prediction import Prediction
from leonids.ledger.hashing import cores
from leonids.spec import RunSpec
from leonids.study import tiles as program
from leonids.study.tiles import BEGUN, SLOT, Tile, numbers_of, slot, unpacked
from leonids.study.windows import Column

LEAST_AHEAD, MOST_AHEAD = 40, 512
"""With fewer tiles, to start a process takes longer than it saves; of more, of some 160 kB each, the last ones."""


def tiles_of(predictions: Sequence[Prediction], runs: Sequence[tuple[RunSpec, Path]], *, at: float) -> list[Tile]:
    """Return the tiles that predictions due by a progress rest on, in the order in which a judge asks for them.

    ``runs`` are the planned ones with their training streams.
    """
    found: dict[Tile, None] = {}
    for prediction in predictions:
        measure = prediction.measure
        if measure.split != "train" or measure.due > at:
            continue
        for run, stream in ((run, stream) for run, stream in runs if run.arm in prediction.arms):
            start, end = (step_at(point, planned_steps=run.steps) for point in measure.period)
            if measure.over is None:
                start = end - round(measure.within * run.steps)
            for metric in DERIVED.get(measure.metric, (measure.metric,)):
                found |= {Tile(str(stream), metric, number): None for number in numbers_of(start + 1, end)}
    return list(found)


@final
class Ahead:
    """Tiles that a process beside the caller reads, the last ones first; none before ``begin``."""

    def __init__(self) -> None:
        self._place: dict[Tile, int] = {}
        self._shared: IO[bytes] | None = None

    def begin(self, tiles: Sequence[Tile]) -> None:
        """Have tiles read, listed in the order in which they will be asked for."""
        if len(tiles) < LEAST_AHEAD or cores() < 2 or os.name != "posix":
            return
        tiles = tiles[-MOST_AHEAD:]
        # Without room for the file, or for a process, the caller reads everything.
        with suppress(OSError), ExitStack() as opened:
            self._shared = opened.enter_context(tempfile.TemporaryFile())
            weakref.finalize(self, _end, _start(tiles, self._shared), self._shared)
            self._place = {tile: place for place, tile in enumerate(tiles)}
            opened.pop_all()

    def take(self, tile: Tile) -> Column | None:
        """Return a tile's rows if they are there; else they are the caller's to read, and nobody begins with them.

        A tile whose last step was not there yet counts as not read.
        """
        place = self._place.pop(tile, None)
        if place is None or self._shared is None:
            return None
        shared = self._shared.fileno()
        if not (size := slot(shared, place)[2]):
            os.pwrite(shared, BEGUN, place * SLOT.size)
            return None
        rows = unpacked(os.pread(shared, size, slot(shared, place)[1]))
        return rows if rows.steps.size and rows.steps[-1] == tile.last_step else None


def _start(tiles: Sequence[Tile], shared: IO[bytes]) -> "subprocess.Popen[bytes]":
    """Start the process that reads; the file shared with it has a slot a tile, the tiles, and then their rows."""
    wanted = json.dumps(tiles).encode()
    shared.write(bytes(len(tiles) * SLOT.size) + wanted)
    shared.flush()
    numbers = map(str, (shared.fileno(), len(tiles), len(wanted), os.getpid()))
    return subprocess.Popen(
        # What lies in the current folder is not Python's to import; Ctrl-C is the caller's to answer.
        [sys.executable, "-P", "-m", program.__name__, *numbers],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=[shared.fileno()],
        start_new_session=True,
    )


def _end(process: "subprocess.Popen[bytes]", shared: IO[bytes]) -> None:
    shared.close()
    process.kill()
    process.wait()
