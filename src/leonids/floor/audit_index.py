"""Which examples repeat, contradict or overlap: 64-bit hashes in a database on disk, in bounded memory.

Two different texts among n share a hash with probability below n^2 / 2^65: 3e-6 for ten million examples.
"""

import hashlib
import math
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import final

from leonids.floor.audit_formats import meaning, normal
from leonids.floor.audit_rows import Row

PENDING = 10_000


def hash_of(text: str) -> int:
    """Return a signed 64-bit hash of a text, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)


@final
@dataclass(frozen=True, slots=True)
class Conflicts:
    """Prompts with more than one answer in a file of ``examples``.

    ``repeated``: examples whose prompt occurs more than once. ``prompts`` have several answers, ``by_value`` of
    them answers that differ in more than writing; ``conflicting`` examples have such a prompt. ``nats`` is the
    least mean answer loss per example over this file of whatever sees the prompt alone, ``ceiling`` its best match.
    ``lines`` are the first two that contradict each other.
    """

    examples: int
    repeated: int
    prompts: int
    by_value: int
    conflicting: int
    nats: float
    ceiling: float
    lines: tuple[int, ...]


@final
@dataclass(frozen=True, slots=True)
class Overlap:
    """How many of ``examples`` have their prompt, their prompt up to case and white space, or all in another file."""

    examples: int
    prompt: int
    normal: int
    whole: int


@final
class Index:
    """The hashes of one file's examples, and of another's if there is one, in a database in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._database = sqlite3.connect(folder / "hashes.sqlite")
        self._database.executescript("pragma journal_mode=off; pragma synchronous=off; pragma temp_store=file")
        for table in ("file", "other"):
            self._database.execute(
                f"create table {table} (line integer, prompt integer, normal integer, answer integer, meaning integer)"
            )
        self._pending: list[tuple[int, ...]] = []

    def close(self) -> None:
        """Close the database; its folder can be removed."""
        self._database.close()

    def add(self, row: Row) -> None:
        """Take one example of the audited file in."""
        self._pending.append(_hashes(row))
        if len(self._pending) >= PENDING:
            self.flush()

    def add_other(self, rows: Iterable[Row]) -> None:
        """Take the examples of the other file in."""
        self._database.executemany("insert into other values (?, ?, ?, ?, ?)", (_hashes(row) for row in rows))

    def flush(self) -> None:
        """Write what is pending; needed before anything is asked."""
        self._database.executemany("insert into file values (?, ?, ?, ?, ?)", self._pending)
        self._pending.clear()

    def _number(self, query: str) -> int:
        return int(self._database.execute(query).fetchone()[0] or 0)

    def copies(self) -> tuple[int, int]:
        """Return how many examples are copies of an earlier one: to the letter, and up to case and white space."""
        total = self._number("select count(*) from file")
        exact, near = (
            self._number(f"select count(*) from (select distinct {columns} from file)")
            for columns in ("prompt, answer", "normal, meaning")
        )
        return total - exact, total - near

    def conflicts(self) -> Conflicts:
        """Return what prompts with several answers say."""
        total = self._number("select count(*) from file")
        repeated = self._number(
            "select sum(n) from (select count(*) as n from file group by prompt having count(*) > 1)"
        )
        several = "select prompt from file group by prompt having min({0}) <> max({0})"
        rows = self._database.execute(
            "select prompt, answer, count(*), min(line) from file where prompt in "
            f"({several.format('answer')}) group by prompt, answer order by prompt, min(line)"
        )
        prompts, conflicting, nats, best, first = 0, 0, 0.0, 0, tuple[int, ...]()
        for _, group in groupby(rows, key=lambda row: int(row[0])):
            members = list(group)
            counts = [int(member[2]) for member in members]
            whole = sum(counts)
            prompts, conflicting, best = prompts + 1, conflicting + whole, best + max(counts)
            nats += math.fsum(n * math.log(whole / n) for n in counts)
            lines = (int(members[0][3]), int(members[1][3]))
            first = min(first, lines, key=max) if first else lines
        return Conflicts(
            examples=total,
            repeated=repeated,
            prompts=prompts,
            by_value=self._number(f"select count(*) from ({several.format('meaning')})"),
            conflicting=conflicting,
            nats=nats / total,
            ceiling=(total - conflicting + best) / total,
            lines=first,
        )

    def overlap(self, *, of: str) -> Overlap:
        """Return how much of the file (``of="file"``) is in the other one, or of the other one in the file."""
        against = "other" if of == "file" else "file"
        prompt, near, whole = (
            self._number(f"select count(*) from {of} where ({columns}) in (select {columns} from {against})")
            for columns in ("prompt", "normal", "prompt, answer")
        )
        return Overlap(self._number(f"select count(*) from {of}"), prompt, near, whole)


def _hashes(row: Row) -> tuple[int, ...]:
    answer = row.answer or ""
    texts = (row.prompt, normal(row.prompt), answer, meaning(answer))
    return (row.line, *(hash_of(text) for text in texts))
