"""Hashes that several processes compute are those that one computes, whatever becomes of a process."""

import sys
from collections.abc import Sequence
from concurrent.futures import wait
from pathlib import Path

import pytest

from leonids.errors import OutputError
from leonids.ledger import hashing
from leonids.ledger.hashing import Rolling
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


@pytest.mark.parametrize("python", [sys.executable, "false"])
@pytest.mark.parametrize("order", [range(6), [5, 0, 3, 3, 1, 4, 2]])
def test_processes_find_the_hashes_that_one_process_finds_in_whatever_order_they_are_asked_for(
    wanted: list[tuple[Path, int]], order: Sequence[int], python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = [rolled(path, records) for path, records in wanted]
    rolling = Rolling(wanted)
    assert [rolling.of(i) for i in order] == [alone[i] for i in order]
    assert (alone[0], alone[3]) == (None, None)
    assert len(set(alone)) == 5
    monkeypatch.setattr(hashing, "WORTH_BYTES", 0)
    monkeypatch.setattr(hashing.os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    monkeypatch.setattr(hashing.sys, "executable", python)
    rolling = Rolling(wanted)
    assert [rolling.of(i) for i in order] == [alone[i] for i in order]


def test_what_a_process_has_found_is_not_worked_out_again(
    wanted: list[tuple[Path, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = [rolled(path, records) for path, records in wanted]
    monkeypatch.setattr(hashing, "WORTH_BYTES", 0)
    monkeypatch.setattr(hashing.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    rolling = Rolling(wanted)
    wait(rolling._futures)
    monkeypatch.setattr(hashing, "rolled", lambda *_: pytest.fail("it was found already"))
    assert [rolling.of(i) for i in range(6)] == alone


def test_a_process_that_nobody_waits_for_is_ended(
    wanted: list[tuple[Path, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "WORTH_BYTES", 0)
    monkeypatch.setattr(hashing.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    rolling = Rolling(wanted)
    (helper,) = rolling._helpers
    del rolling
    assert helper.returncode is not None
    Rolling([])


def test_a_stream_that_cannot_be_read_is_the_error_that_one_process_raises(
    wanted: list[tuple[Path, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "WORTH_BYTES", 0)
    monkeypatch.setattr(hashing.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    rolling = Rolling([*wanted, (tmp_path, 1)])
    wait(rolling._futures)
    with pytest.raises(OutputError, match="cannot be read"):
        rolling.of(6)


def test_whoever_waits_hears_of_whatever_stops_the_hashing(
    wanted: list[tuple[Path, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> str:
        raise MemoryError

    monkeypatch.setattr(hashing, "WORTH_BYTES", 0)
    monkeypatch.setattr(hashing.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr(hashing, "_asked", full)
    rolling = Rolling(wanted)
    wait(rolling._futures, timeout=30)
    with pytest.raises(MemoryError):
        rolling.of(1)
