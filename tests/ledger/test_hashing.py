"""Hashes that several processes compute are those that one computes, whatever becomes of a process."""

import sys
from pathlib import Path

import pytest

from leonids.ledger import hashing
from leonids.ledger.hashing import rolled_each
from leonids.ledger.streams import begin, rolled


@pytest.fixture
def wanted(tmp_path: Path) -> list[tuple[Path, int]]:
    """Streams of many lengths, one of which is shorter than asked for, and one that is not there."""
    found = [(tmp_path / "missing.jsonl", 3)]
    for number, lines in enumerate((1, 40, 7, 300, 2)):
        path = tmp_path / f"{number}.jsonl"
        stream = begin(path, {"run": number})
        for step in range(lines):
            stream.append({"step": step})
        stream.close()
        found.append((path, lines + (2 if number == 2 else 1)))
    return found


@pytest.mark.parametrize(("python", "here"), [(sys.executable, 2), ("false", 6)])
def test_processes_find_the_hashes_that_one_process_finds(
    wanted: list[tuple[Path, int]], python: str, here: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = [rolled(path, records) for path, records in wanted]
    assert rolled_each(wanted) == alone
    assert (alone[0], alone[3]) == (None, None)
    assert len(set(alone)) == 5
    monkeypatch.setattr(hashing, "WORTH_BYTES", 0)
    monkeypatch.setattr(hashing.os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    monkeypatch.setattr(hashing.sys, "executable", python)
    asked: list[Path] = []

    def counted(path: Path, records: int) -> str | None:
        asked.append(path)
        return rolled(path, records)

    monkeypatch.setattr(hashing, "rolled", counted)
    assert rolled_each(wanted) == alone
    assert len(asked) == here
    assert rolled_each([]) == []
