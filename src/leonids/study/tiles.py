"""Tiles: a metric's training rows of 2,000 steps, of which windows are put together; and a program that reads many.

The program shares a file with whoever starts it (``study.ahead``): a slot for each tile, the tiles, and then their
rows. It imports little, since it is started for a second or two of work.
"""

import gc
import json
import os
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, final

import numpy as np

from leonids.errors import LeonidsError
from leonids.study.windows import Column, column

TILE_STEPS = 2000

SLOT = struct.Struct("<qqq")
"""What the shared file says of a tile: whether somebody has begun with it, where it lies there, how long it is."""

BEGUN = SLOT.pack(1, 0, 0)


@final
class Tile(NamedTuple):
    """Training rows of one metric: steps ``number * TILE_STEPS + 1`` to ``(number + 1) * TILE_STEPS`` of a stream."""

    stream: str
    metric: str
    number: int

    @property
    def last_step(self) -> int:
        """The last of its steps."""
        return (self.number + 1) * TILE_STEPS


def numbers_of(first_step: int, last_step: int) -> range:
    """Return the numbers of the tiles that hold steps ``first_step`` to ``last_step``."""
    return range(max(0, first_step - 1) // TILE_STEPS, -(-last_step // TILE_STEPS))


def read_tile(tile: Tile) -> Column:
    """Return a tile's rows. Raises ``IntegrityError`` for a line that is not what a run writes."""
    first = tile.number * TILE_STEPS + 1
    return column(Path(tile.stream), metric=tile.metric, split="train", first_step=first, last_step=tile.last_step)


def slot(shared: int, place: int) -> tuple[int, int, int]:
    """Return what the shared file says of a tile."""
    begun, at, size = SLOT.unpack(os.pread(shared, SLOT.size, place * SLOT.size))
    return begun, at, size


def packed(rows: Column) -> bytes:
    """Return rows as bytes: a line with their roles and number, then each array after the other."""
    arrays = (rows.steps, rows.keys, *rows.totals.values(), *rows.counts.values())
    return json.dumps([list(rows.totals), len(rows.steps)]).encode() + b"\n" + b"".join([a.tobytes() for a in arrays])


def unpacked(data: bytes) -> Column:
    """Return the rows that ``packed`` made bytes of."""
    (roles, n), body = json.loads(data[: (start := data.index(b"\n") + 1)]), memoryview(data)[start:]
    steps, keys = np.frombuffer(body, np.int64, 2 * n).reshape(2, n)
    totals, counts = np.frombuffer(body[16 * n :], np.float64).reshape(2, len(roles), n)
    return Column(steps, keys, dict(zip(roles, totals, strict=True)), dict(zip(roles, counts, strict=True)))


def serve(shared: int, count: int, length: int, parent: int) -> None:
    """Read the tiles that a shared file names, from the last one on, into it, while whoever wants them lives.

    ``count`` tiles are named in ``length`` bytes; ``parent`` is the process that started this one.
    """
    tiles = [Tile(*tile) for tile in json.loads(os.pread(shared, length, count * SLOT.size))]
    end = count * SLOT.size + length
    for place in reversed(range(count)):
        if os.getppid() != parent:
            return
        if slot(shared, place)[0]:
            continue
        os.pwrite(shared, BEGUN, place * SLOT.size)
        # What is wrong with a tile is the caller's to say, who reads it too.
        with suppress(LeonidsError):
            rows = packed(read_tile(tiles[place]))
            os.pwrite(shared, rows, end)
            os.pwrite(shared, SLOT.pack(1, end, len(rows)), place * SLOT.size)
            end += len(rows)


if __name__ == "__main__":
    # Half a million lines come and go, and none of them refers to another.
    gc.disable()
    serve(*map(int, sys.argv[1:]))
