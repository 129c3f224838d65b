"""The ledger: an append-only file of hash-chained entries that several processes may write at once.

A line reaches the disk before the witness file ``ledger.head`` counts it. So a crash leaves the witness
behind the ledger, which the next append repairs, and only a cut leaves it ahead.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import final

from filelock import FileLock, Timeout

from leonids.digest import Json
from leonids.errors import IntegrityError, OutputError, UsageError
from leonids.ledger.chains import chain_path
from leonids.ledger.disk import (
    append,
    flush,
    make_folder,
    open_for_append,
    truncate,
    unreadable,
    unwritable,
    write_whole,
)
from leonids.ledger.entry import Entry, EntryType, Head, entry_of, seal
from leonids.ledger.lines import (
    FIRST,
    HEAD,
    LEDGER,
    MAIN,
    RUN_NAME,
    TYPES,
    WRITER_TYPES,
    WRITERS,
    Broken,
    head_bytes,
    numbered,
    strict_object,
)
from leonids.ledger.registered import (
    CHANGES,
    Prediction,
    Registered,
    check_reason,
    identity,
    normal,
    registered,
    same,
    unregistered,
)

FORMAT = "leonids-ledger/1"
LOCK_WAIT_S = 60.0
LOCK_POLL_S = 0.002

Clock = Callable[[], datetime]
Facts = Mapping[str, Json]


def utc_now() -> datetime:
    """Return the time now, in UTC."""
    return datetime.now(UTC)


@final
class Ledger:
    """The ledger of one study folder. Make one with ``Ledger.open``; many processes may hold one each."""

    __slots__ = ("_bytes", "_clock", "_entries", "_lock", "_out", "folder", "writer")

    def __init__(self, out: Path, clock: Clock, writer: str) -> None:
        self.folder = chain_folder(out, writer)
        self.writer = writer
        self._out = out
        self._clock = clock
        folder = self.folder
        self._lock = FileLock(folder / "ledger.lock", timeout=LOCK_WAIT_S, poll_interval=LOCK_POLL_S)
        self._entries: list[Entry] = []
        self._bytes = 0

    @classmethod
    def open(cls, out: Path, *, clock: Clock = utc_now, writer: str = MAIN) -> "Ledger":
        """Open a folder's ledger for writing, or the chain of another writer there; begin one where there is none.

        Raises ``OutputError`` where nothing can be written, ``IntegrityError`` where the ledger was changed.
        """
        ledger = cls(out, clock, writer)
        make_folder(ledger.folder)
        with ledger._hold():
            if not ledger._entries:
                ledger._begin()
        return ledger

    def append(self, kind: EntryType, body: Mapping[str, Json]) -> Entry:
        """Add an entry and return it once it is on the disk.

        Raises ``UsageError`` for an unknown type or a body with a number that JSON cannot hold,
        ``OutputError`` for a full disk (nothing is added), ``IntegrityError`` for a changed ledger.
        """
        if kind not in TYPES or kind == "genesis" or kind in CHANGES:
            raise UsageError(
                f"{kind!r} is not an entry to append",
                rule=f"one of {', '.join(t for t in TYPES[1:] if t not in CHANGES)}",
                way_out="predictions go through register, amend and withdraw",
            )
        with self._hold():
            return self._append(kind, body)

    def entries(self) -> tuple[Entry, ...]:
        """Return all entries, those of other processes too."""
        self._catch_up()
        return tuple(self._entries)

    def head(self) -> Head:
        """Return how many entries there are and the last one's hash."""
        last = self.entries()[-1]
        return Head(last.count, last.sha256)

    def register(
        self, predictions: Sequence[Prediction], *, files: Sequence[str] = (), more: Facts = MappingProxyType({})
    ) -> tuple[Entry, ...]:
        """Lock predictions, each ``{"id": ..., ...}``, and return the entries that hold them.

        Those already there are left as they are, so a resumed study may register again. ``files`` are names
        of files in the folder whose digests are sealed with new ones; ``more`` is what else the lock states.
        Raises ``UsageError`` for an edit.
        """
        with self._hold():
            if fresh := unregistered(self._entries, predictions):
                self._append("register", {**more, "predictions": tuple(fresh), **self._digests(files)})
            known = registered(self._entries)
            seqs = sorted({known[str(normal(p)["id"])][0].seq for p in predictions})
            return tuple(self._entries[seq] for seq in seqs)

    def amend(
        self, prediction: Prediction, *, reason: str, files: Sequence[str] = (), more: Facts = MappingProxyType({})
    ) -> Entry:
        """Add a new version of a registered prediction; the old version stays and is judged as well."""
        amended = normal(prediction)
        with self._hold():
            versions = self._versions(identity(amended), reason)
            if any(same(version.prediction, amended) for version in versions):
                raise UsageError(f"prediction {versions[0].id} already reads so", rule="an amendment changes something")
            body: dict[str, Json] = {"prediction": amended, "version": len(versions) + 1, "reason": reason}
            return self._append("amend", {**more, **body, **self._digests(files)})

    def withdraw(self, prediction_id: str, *, reason: str) -> Entry:
        """Withdraw a prediction, all versions of it. It stays visible, with the reason."""
        with self._hold():
            self._versions(prediction_id, reason)
            return self._append("withdraw", {"prediction": prediction_id, "reason": reason})

    @classmethod
    def repair(cls, out: Path, *, clock: Clock = utc_now, writer: str = MAIN) -> Entry | None:
        """Deal with a last line that a crash left half-written; return the note that says so, if there was one.

        Only a strict fragment of an entry is removed; a whole entry that lacks its newline is completed.
        Raises ``IntegrityError`` when the bytes cannot come from a crash.
        """
        ledger = cls(out, clock, writer)
        with ledger._locked():
            rest = ledger._catch_up()
            ledger.check_head(ledger.witness())
            return ledger._repair(rest) if rest else None

    def _repair(self, rest: bytes) -> Entry:
        whole = self._is_next(rest)
        if not whole and not _is_fragment(rest):
            raise self._broken(len(self._entries) + 1, "what follows the last newline is no part of an entry")
        if whole:
            self._write(b"\n")
            self._catch_up()
        else:
            truncate(self.folder / LEDGER, self._bytes)
        if not self._entries:
            return self._begin()
        rest_facts: dict[str, Json] = {"bytes": len(rest), "sha256": hashlib.sha256(rest).hexdigest()}
        return self._append("note", {"about": "repair", "completed" if whole else "removed": rest_facts})

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self._lock.acquire()
        except Timeout:
            raise OutputError(
                f"{self.folder / LEDGER} has been held by another process for {LOCK_WAIT_S:.0f} s",
                rule="one process appends at a time",
                way_out="wait for it or stop it",
            ) from None
        except OSError as error:
            raise unwritable(self.folder / "ledger.lock", error) from None
        try:
            yield
        finally:
            self._lock.release()

    @contextmanager
    def _hold(self) -> Iterator[None]:
        with self._locked():
            if rest := self._catch_up():
                raise IntegrityError(
                    f"{self.folder / LEDGER}:{len(self._entries) + 1}: {len(rest)} bytes without a newline",
                    rule="a crash can leave the last line half-written",
                    way_out="`leonids verify --repair` removes it, if it is part of an entry and of nothing else",
                )
            self.check_head(self.witness())
            yield

    def _catch_up(self) -> bytes:
        """Read what was appended since the last time; return the bytes after the last newline."""
        path = self.folder / LEDGER
        try:
            with path.open("rb") as handle:
                size = os.fstat(handle.fileno()).st_size
                handle.seek(self._bytes)
                lines, rest = numbered(handle.read())
        except FileNotFoundError:
            lines, rest, size = [], b"", 0
        except OSError as error:
            raise unreadable(path, error) from None
        if size < self._bytes:
            raise self._broken(len(self._entries), f"the file shrank from {self._bytes} bytes to {size}")
        for line in lines:
            self._entries.append(self._next(line))
            self._bytes += len(line) + 1
        return rest

    def _next(self, line: bytes) -> Entry:
        number = len(self._entries) + 1
        try:
            entry = entry_of(line)
        except Broken as error:
            raise self._broken(number, str(error)) from None
        if entry.count != number or entry.prev != (self._entries[-1].sha256 if self._entries else FIRST):
            raise self._broken(number, "it does not follow the entry before it")
        return entry

    def _is_next(self, line: bytes) -> bool:
        try:
            self._next(line)
        except IntegrityError:
            return False
        return True

    def witness(self) -> bytes:
        """Return what the witness file says now. Whoever does not hold the lock reads it before the entries."""
        path = self.folder / HEAD
        return path.read_bytes() if path.is_file() else b""

    def check_head(self, raw: bytes) -> None:
        """Refuse a ledger that is shorter than its witness says; a witness that is behind is let pass."""
        if not raw and len(self._entries) <= 1:
            return
        heads = (head_bytes(entry.count, entry.sha256) for entry in reversed(self._entries))
        if raw not in heads:
            raise self._broken(len(self._entries), f"{HEAD} witnesses another last entry: the tail was cut or changed")

    def _begin(self) -> Entry:
        own: dict[str, Json] = {} if self.writer == MAIN else {"about": "writer", "writer": self.writer}
        return self._append("genesis", {"format": FORMAT, **own})

    def _append(self, kind: EntryType, body: Mapping[str, Json]) -> Entry:
        if self.writer != MAIN:
            if kind not in WRITER_TYPES:
                raise UsageError(
                    f"writer {self.writer} writes a {kind}",
                    rule="a writer's chain holds its runs",
                    way_out=f"predictions, verdicts and anchors go into {self._out / LEDGER}",
                )
            body = {**body, "sees": heads_in(self._out, but=self.writer)}
        last = self._entries[-1] if self._entries else None
        stamp = self._clock().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        # A clock that is set back must not make a ledger look back-dated: time stands still until it catches up.
        ts = max(stamp, last.ts) if last else stamp
        line = seal(kind, body, seq=len(self._entries), ts=ts, prev=last.sha256 if last else FIRST)
        entry = entry_of(line)
        self._write(line + b"\n")
        try:
            write_whole(self.folder / HEAD, head_bytes(entry.count, entry.sha256))
        except OutputError:
            truncate(self.folder / LEDGER, self._bytes)
            raise
        self._entries.append(entry)
        self._bytes += len(line) + 1
        return entry

    def _write(self, data: bytes) -> None:
        path = self.folder / LEDGER
        descriptor = open_for_append(path)
        try:
            append(descriptor, data, path=path)
            flush(descriptor, path=path)
        finally:
            os.close(descriptor)

    def _versions(self, prediction_id: str, reason: str) -> tuple[Registered, ...]:
        check_reason(prediction_id, reason)
        versions = registered(self._entries).get(prediction_id, ())
        if not versions or versions[-1].withdrawn:
            state = "withdrawn" if versions else "not registered"
            raise UsageError(f"prediction {prediction_id} is {state}", way_out="register it under a new id")
        return versions

    def _digests(self, names: Sequence[str]) -> dict[str, Json]:
        files: dict[str, Json] = {}
        for name in names:
            try:
                files[name] = hashlib.sha256((self.folder / name).read_bytes()).hexdigest()
            except OSError as error:
                raise unreadable(self.folder / name, error) from None
        return {"files": files} if files else {}

    def _broken(self, line: int, what: str) -> IntegrityError:
        return IntegrityError(
            f"{self.folder / LEDGER}:{line}: {what}",
            rule="a ledger is only appended to",
            way_out="restore the folder from a copy; `leonids verify` lists all that is broken",
        )


def chain_folder(out: Path, writer: str) -> Path:
    """Return the folder of a chain. Raises ``UsageError`` for what is no name of a writer."""
    if not RUN_NAME.fullmatch(writer):
        raise UsageError(
            f"{writer!r} is not the name of a writer",
            rule="letters, digits, dot, dash, underscore; 64 at most; no dot first",
        )
    return out / chain_path(writer)


def heads_in(out: Path, *, but: str) -> dict[str, Json]:
    """Return the heads of a folder's chains by their names, one left out, as their witness files say them."""
    found: dict[str, Json] = {}
    for path in (out / HEAD, *sorted((out / WRITERS).glob(f"*/{HEAD}"))):
        name = MAIN if path.parent == out else path.parent.name
        if name != but and RUN_NAME.fullmatch(name):
            try:
                head = strict_object(path.read_bytes().rstrip(b"\n"))
                found[name] = {"count": head["count"], "sha256": head["sha256"]}
            except (OSError, Broken, KeyError) as error:
                what = f"{path} is no witness of a ledger ({error})"
                raise IntegrityError(what, rule="it is written whole") from None
    return found


def _is_fragment(rest: bytes) -> bool:
    """Whether a crash can have left these bytes: the start of an entry, maybe padded with zeros by the disk."""
    opening = b'{"body":'
    start = rest.rstrip(b"\0")
    return start.startswith(opening) or opening.startswith(start)


def read_entries(out: Path, *, writer: str = MAIN) -> tuple[Entry, ...]:
    """Return a folder's ledger, or another writer's chain there, without writing anything.

    A line being written right now is left out. Raises ``UsageError`` where there is no ledger, ``IntegrityError``
    where it was changed.
    """
    ledger = Ledger(out, utc_now, writer)
    if not (ledger.folder / LEDGER).is_file():
        raise UsageError(f"{ledger.folder} holds no {LEDGER}", rule="a study's folder has a ledger")
    witness = ledger.witness()
    entries = ledger.entries()
    ledger.check_head(witness)
    return entries
