"""Writing that is whole or not at all: appended lines and replaced files that survive a crash or a full disk."""

import os
from pathlib import Path

from leonids.errors import OutputError


def unwritable(path: Path, error: OSError) -> OutputError:
    """Return the error for a file that cannot be written."""
    return OutputError(
        f"{path} cannot be written ({error.strerror or error})",
        rule="what was written before it is intact",
        way_out="free space or choose another output folder",
    )


def unreadable(path: Path, error: OSError) -> OutputError:
    """Return the error for a file that cannot be read."""
    return OutputError(f"{path} cannot be read ({error.strerror or error})", rule="a study's files are readable")


def make_folder(path: Path) -> None:
    """Create a folder and its parents. Raises ``OutputError``."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from None


def open_for_append(path: Path) -> int:
    """Return a descriptor whose writes go to the file's end, whoever else writes. Raises ``OutputError``."""
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise unwritable(path, error) from None


def append(descriptor: int, data: bytes, *, path: Path) -> None:
    """Append all of ``data``, or nothing: a full disk takes back the part that fitted. Raises ``OutputError``.

    The caller is the only writer at this moment.
    """
    before = os.fstat(descriptor).st_size
    written = 0
    try:
        while written < len(data):
            written += os.write(descriptor, data[written:])
    except OSError as error:
        os.ftruncate(descriptor, before)
        raise unwritable(path, error) from None


def flush(descriptor: int, *, path: Path) -> None:
    """Wait until what was written is on the disk. Raises ``OutputError``."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise unwritable(path, error) from None


def truncate(path: Path, size: int) -> None:
    """Cut a file to ``size`` bytes, on the disk as well. Raises ``OutputError``."""
    descriptor = open_for_append(path)
    try:
        os.ftruncate(descriptor, size)
        os.fsync(descriptor)
    except OSError as error:
        raise unwritable(path, error) from None
    finally:
        os.close(descriptor)


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file: a reader sees the old content or the new, never a part. Raises ``OutputError``."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    try:
        with draft.open("wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise unwritable(path, error) from None
