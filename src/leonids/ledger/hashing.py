"""Rolling hashes of many long streams: a share of them in a process for each core.

Lines are hashed one by one, each with the hash before it: within one stream that is a chain, and Python holds its
lock for lines this short, so that only processes help. ``python -m leonids.ledger.hashing`` is such a process.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

from leonids.ledger.streams import rolled

WORTH_BYTES = 64_000_000
"""Fewer bytes are hashed sooner than a process starts."""

Wanted: TypeAlias = tuple[Path, int]
"""A stream, and how many of its first lines are hashed."""


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def rolled_each(wanted: Sequence[Wanted]) -> list[str | None]:
    """Return what ``rolled`` returns for each stream, computed on as many cores as there are streams for."""
    sizes = [path.stat().st_size if path.is_file() else 0 for path, _ in wanted]
    processes = cores()
    if sum(sizes) < WORTH_BYTES or min(processes, len(wanted)) < 2:
        return [rolled(path, records) for path, records in wanted]
    largest_first = sorted(range(len(wanted)), key=lambda i: -sizes[i])
    own, *shares = [share for start in range(processes) if (share := largest_first[start::processes])]
    with ExitStack() as started:
        helpers = [started.enter_context(_helper([wanted[i] for i in share])) for share in shares]
        found = {i: rolled(*wanted[i]) for i in own}
        for helper, share in zip(helpers, shares, strict=True):
            answer, _ = helper.communicate()
            hashes = json.loads(answer) if helper.returncode == 0 else [rolled(*wanted[i]) for i in share]
            found |= dict(zip(share, hashes, strict=True))
    return [found[i] for i in range(len(wanted))]


def _helper(wanted: Sequence[Wanted]) -> "subprocess.Popen[bytes]":
    asked = json.dumps([[str(path), records] for path, records in wanted])
    return subprocess.Popen(
        [sys.executable, "-m", "leonids.ledger.hashing", asked], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )


def main(arguments: Sequence[str]) -> None:
    """Print the hashes of the streams that the one argument lists, as JSON."""
    sys.stdout.write(json.dumps([rolled(Path(path), records) for path, records in json.loads(arguments[0])]))


if __name__ == "__main__":
    main(sys.argv[1:])
