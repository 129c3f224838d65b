"""Rolling hashes of many long streams, worked out in processes beside the caller.

Lines are hashed one by one, each with the hash before it: within one stream that is a chain, and Python holds its
lock for lines this short, so that only processes help. ``python -m leonids.ledger.hashing`` is such a process.
"""

import json
import os
import subprocess
import sys
import weakref
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import TypeAlias, cast, final

from leonids.ledger.streams import rolled

WORTH_BYTES = 64_000_000
"""Fewer bytes are hashed sooner than a process starts."""

Wanted: TypeAlias = tuple[Path, int]
"""A stream, and how many of its first lines are hashed."""

Helper: TypeAlias = "subprocess.Popen[bytes]"
Work: TypeAlias = deque[tuple[Wanted, "Future[str | None]"]]


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@final
class Rolling:
    """Hashes of many streams. Where they are long, processes begin with them at once, in the order given.

    The caller works out what it asks for before a process has begun with it, and waits for nothing else.
    """

    def __init__(self, wanted: Sequence[Wanted]) -> None:
        self._wanted = tuple(wanted)
        self._futures: list[Future[str | None]] = [Future() for _ in wanted]
        self._own: dict[int, str | None] = {}
        size = sum(path.stat().st_size for path, _ in wanted if path.is_file())
        count = min(cores() - 1, len(wanted)) if size >= WORTH_BYTES else 0
        self._helpers = [_helper() for _ in range(count)]
        work: Work = deque(zip(self._wanted, self._futures, strict=True))
        for helper in self._helpers:
            Thread(target=_feed, args=(helper, work), daemon=True).start()
        weakref.finalize(self, _end, self._helpers, work)

    def of(self, i: int) -> str | None:
        """Return what ``rolled`` returns for the ``i``-th stream."""
        if i not in self._own and self._futures[i].cancel():
            self._own[i] = rolled(*self._wanted[i])
        return self._own[i] if i in self._own else self._futures[i].result()


def _helper() -> Helper:
    command = [sys.executable, "-m", "leonids.ledger.hashing"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def _feed(helper: Helper, work: Work) -> None:
    """Let a process hash what nobody has begun with, until nothing is left."""
    with suppress(OSError), helper:
        while work:
            with suppress(IndexError):
                wanted, future = work.popleft()
                if future.set_running_or_notify_cancel():
                    _answer(helper, wanted, future)


def _answer(helper: Helper, wanted: Wanted, future: "Future[str | None]") -> None:
    try:
        future.set_result(_asked(helper, wanted))
    except Exception as error:  # noqa: BLE001 - whoever waits for this stream has to hear of it, whatever it is
        future.set_exception(error)


def _asked(helper: Helper, wanted: Wanted) -> str | None:
    try:
        if helper.stdin is None or helper.stdout is None:
            raise ValueError("no pipes")
        helper.stdin.write(json.dumps([str(wanted[0]), wanted[1]]).encode() + b"\n")
        helper.stdin.flush()
        return cast("str | None", json.loads(helper.stdout.readline()))
    except (OSError, ValueError):
        # It has died; whoever waits has the answer all the same.
        return rolled(*wanted)


def _end(helpers: Sequence[Helper], work: Work) -> None:
    work.clear()
    for helper in helpers:
        helper.kill()
        helper.wait()


def main() -> None:
    """Answer each stream that a line names by a line with its hash, as JSON."""
    for line in sys.stdin:
        path, records = json.loads(line)
        sys.stdout.write(json.dumps(rolled(Path(path), records)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
