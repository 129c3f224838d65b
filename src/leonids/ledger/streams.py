"""A run's streams: one JSON line a record, each sealed with a rolling hash of all lines before it."""

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast, final

from leonids.digest import Json
from leonids.errors import IntegrityError, UsageError
from leonids.ledger.disk import append, flush, open_for_append, truncate, unreadable
from leonids.ledger.lines import (
    FIRST,
    LINE_DOMAIN,
    SEAL_BYTES,
    Broken,
    Head,
    canonical,
    numbered,
    open_line,
    sha256_hex,
)

StreamHead = dict[str, int | str]
"""``lines.Head`` in the ledger's words: ``records``, ``sha256``, and of the lines' ``bytes`` the ``file_sha256``."""

PART_BYTES = 1 << 20
"""As much of a file is hashed at a time, and Python's lock is let go of meanwhile."""

NON_FINITE = {math.inf: "Infinity", -math.inf: "-Infinity"}


@final
class RunStream:
    """A stream that is being written. A line is in the file when ``append`` returns, on the disk after ``sync``.

    Numbers that are not finite, which JSON lacks, are written as the texts NaN, Infinity and -Infinity;
    ``float(text)`` reads them back.
    """

    __slots__ = ("_content", "_descriptor", "_path", "_size", "records", "sha256")

    def __init__(self, path: Path, *, records: int, sha256: str, content: bytes) -> None:
        self._path = path
        self._descriptor = open_for_append(path)
        self._content = hashlib.sha256(content)
        self._size = len(content)
        self.records = records
        self.sha256 = sha256

    def append(self, record: Mapping[str, Json]) -> None:
        """Write one record. Raises ``OutputError`` for a full disk; the stream then ends at the line before."""
        try:
            content = canonical(dict(record))
        except ValueError:
            content = self._with_non_finite(record)
        sha256 = sha256_hex(LINE_DOMAIN, self.sha256.encode() + content)
        line = content[:-1] + b',"sha256":"' + sha256.encode() + b'"}\n'
        append(self._descriptor, line, path=self._path)
        self._content.update(line)
        self._size += len(line)
        self.sha256 = sha256
        self.records += 1

    def head(self) -> StreamHead:
        """Return how far the stream has come."""
        return stream_head(Head(self.records, self.sha256, self._size, self._content.hexdigest()))

    def sync(self) -> None:
        """Wait until all lines are on the disk. Raises ``OutputError``."""
        flush(self._descriptor, path=self._path)

    def close(self) -> None:
        """Close the file; closing twice does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _with_non_finite(self, record: Mapping[str, Json]) -> bytes:
        try:
            return canonical(_spelled(dict(record)))
        except ValueError as error:
            raise UsageError(
                f"a record of {self._path.name} cannot be written ({error})",
                rule="records hold JSON values: text, numbers up to 2**53, lists and objects with text keys",
            ) from None


def _spelled(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return NON_FINITE.get(value, "NaN")
    if isinstance(value, dict):
        return {name: _spelled(item) for name, item in value.items()}
    return [_spelled(item) for item in value] if isinstance(value, list | tuple) else value


def stream_head(head: Head) -> StreamHead:
    """Return a head in the ledger's words."""
    words: StreamHead = {"records": head.records, "sha256": head.sha256}
    return words if head.size is None else words | {"bytes": head.size, "file_sha256": str(head.file_sha256)}


def begin(path: Path, first: Mapping[str, Json]) -> RunStream:
    """Start a stream whose first line is ``first``; what a crash left of an unfinished first line is removed."""
    if path.exists():
        truncate(path, 0)
    stream = RunStream(path, records=0, sha256=FIRST, content=b"")
    stream.append(first)
    return stream


def count_lines(path: Path) -> int:
    """Return how many complete lines a file has; a file that is not there has none."""
    return len(_complete(path))


@final
@dataclass(frozen=True, slots=True)
class Cut:
    """A place at which a stream can be cut: its first ``records`` lines, ``content``, are what was written.

    ``reached`` is how many complete lines the file has.
    """

    path: Path
    records: int
    sha256: str
    content: bytes
    reached: int

    def head(self) -> StreamHead:
        """Return the stream's head after the cut."""
        file_sha256 = hashlib.sha256(self.content).hexdigest()
        return stream_head(Head(self.records, self.sha256, len(self.content), file_sha256))

    def go_on(self) -> RunStream:
        """Remove what follows and return the stream, ready for its next line."""
        truncate(self.path, len(self.content))
        return RunStream(self.path, records=self.records, sha256=self.sha256, content=self.content)


def locate(path: Path, *, records: int, sha256: str | None) -> Cut:
    """Find the end of a stream's first ``records`` lines, whose last hash must be ``sha256`` (None: any).

    Raises ``IntegrityError`` when these lines are not what was written.
    """
    lines = _complete(path)
    if len(lines) < records:
        raise unlike(f"{path}:{len(lines) + 1}", f"the checkpoint counts {records} lines, the file has {len(lines)}")
    rolling = FIRST
    for number, line in enumerate(lines[:records], 1):
        try:
            _, rolling = open_line(line, rolling)
        except Broken as error:
            raise unlike(f"{path}:{number}", str(error)) from None
    if sha256 is not None and rolling != sha256:
        raise unlike(f"{path}:{records}", "it is not the line that the checkpoint was made at")
    return Cut(path, records, rolling, b"".join(line + b"\n" for line in lines[:records]), len(lines))


def rolled(path: Path, records: int) -> str | None:
    """Return the rolling hash of a stream's first ``records`` lines, or None where it has fewer."""
    prefix, rolling = LINE_DOMAIN.encode() + b"\0", FIRST
    try:
        with path.open("rb") as handle:
            for line in islice(handle, records):
                content = b"%b%b%b}" % (prefix, rolling.encode(), line[: -SEAL_BYTES - 1])
                rolling = hashlib.sha256(content).hexdigest()
                records -= line.endswith(b"\n")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(path, error) from None
    return None if records else rolling


def file_sha256(path: Path, size: int) -> str | None:
    """Return the SHA-256 of a file's first ``size`` bytes, or None where it has fewer. Raises ``OutputError``."""
    found, part = hashlib.sha256(), memoryview(bytearray(PART_BYTES))
    try:
        with path.open("rb", buffering=0) as handle:
            while size and (n := handle.readinto(part[:size])):
                found.update(part[:n])
                size -= n
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(path, error) from None
    return None if size else found.hexdigest()


def read_stream(path: Path) -> Iterator[dict[str, Any]]:
    """Yield a stream's records, the first line included, hashes unchecked (``verify`` checks them).

    A last line that is being written right now is left out. Raises ``IntegrityError`` for a complete line
    that is not JSON, ``OutputError`` for a file that cannot be read.
    """
    try:
        with path.open("rb") as handle:
            for number, line in enumerate(handle, 1):
                if line.endswith(b"\n"):
                    yield _parsed(path, number, line)
    except OSError as error:
        raise unreadable(path, error) from None


def _parsed(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", json.loads(line))
    except ValueError as error:
        raise unlike(f"{path}:{number}", f"it is not JSON ({error})") from None


def _complete(path: Path) -> list[bytes]:
    try:
        return numbered(path.read_bytes())[0] if path.exists() else []
    except OSError as error:
        raise unreadable(path, error) from None


def unlike(where: str, what: str) -> IntegrityError:
    """Return the error of a stream that is not what was written; ``where`` is its file, with the line where known."""
    return IntegrityError(
        f"{where}: {what}",
        rule="a run's streams are only appended to",
        way_out="restore the run's folder from a copy, or start the run anew under another --out",
    )
