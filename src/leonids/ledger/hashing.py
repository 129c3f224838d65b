"""Whether many long streams are what was sealed of them, found beside the caller.

A head states its lines twice (``lines.Head``). The hash of their bytes is worked out a file at a time, and Python lets
go of its lock meanwhile, so that a thread a core is enough. Streams sealed before heads had it are hashed line by line.
"""

import os
import weakref
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import TypeAlias, final

from leonids.ledger.lines import Head
from leonids.ledger.streams import file_sha256, rolled

Wanted: TypeAlias = tuple[Path, Head]
"""A stream, and the head that it should have."""

Work: TypeAlias = deque[tuple[Wanted, "Future[bool]"]]


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def has_head(path: Path, head: Head) -> bool:
    """Return whether a stream's first lines are those that a head was made of. Raises ``OutputError``."""
    if head.size is not None:
        return file_sha256(path, head.size) == head.file_sha256
    return rolled(path, head.records) == head.sha256


@final
class Checks:
    """Whether streams have the heads that they should have: found in the order given, from now on.

    The caller works out what it asks for before a thread has begun with it, and waits for nothing else.
    """

    def __init__(self, wanted: Sequence[Wanted]) -> None:
        self._wanted = tuple(wanted)
        self._futures: list[Future[bool]] = [Future() for _ in wanted]
        self._own: dict[int, bool] = {}
        work: Work = deque(zip(self._wanted, self._futures, strict=True))
        for _ in range(min(cores() - 1, len(wanted))):
            Thread(target=_check, args=(work,), daemon=True).start()
        weakref.finalize(self, work.clear)

    def of(self, i: int) -> bool:
        """Return what ``has_head`` returns of the ``i``-th stream."""
        if i not in self._own and self._futures[i].cancel():
            self._own[i] = has_head(*self._wanted[i])
        return self._own[i] if i in self._own else self._futures[i].result()


def _check(work: Work) -> None:
    """Find what nobody has begun with, until nothing is left."""
    while work:
        with suppress(IndexError):
            wanted, future = work.popleft()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(has_head(*wanted))
                except Exception as error:  # noqa: BLE001 - whoever waits for this stream has to hear of it
                    future.set_exception(error)
