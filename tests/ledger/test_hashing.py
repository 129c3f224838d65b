"""A stream has the head that was sealed, or has not, whoever finds it: the caller, or a thread beside it."""

from collections.abc import Sequence
from concurrent.futures import wait
from pathlib import Path

import pytest

from leonids.errors import OutputError
from leonids.ledger import hashing
from leonids.ledger.hashing import Checks, has_head
from leonids.ledger.lines import Head, heads_of
from leonids.ledger.streams import begin, file_sha256, rolled

Wanted = list[tuple[Path, Head]]
OLDER = {"size": None, "file_sha256": None}
"""What heads said nothing of at first."""


@pytest.fixture
def wanted(tmp_path: Path) -> Wanted:
    """Streams that have their heads, longer ones whose heads came earlier, one that was cut, one that is not there."""
    found: Wanted = []
    for number, lines in enumerate((1, 40, 7, 300, 2)):
        path = tmp_path / f"{number}.jsonl"
        stream = begin(path, {"run": number})
        for step in range(lines):
            stream.append({"step": step})
        head = heads_of({"streams": dict.fromkeys(("steps", "reviews"), stream.head())})["steps"]
        for step in range(number):
            stream.append({"step": lines + step})
        stream.close()
        found.append((path, head))
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes(found[3][0].read_bytes()[:-500])
    return [*found, (cut, found[3][1]), (tmp_path / "missing.jsonl", found[0][1])]


INTACT = [True] * 5 + [False] * 2


@pytest.fixture(params=["as they are", "as they were at first"])
def heads(request: pytest.FixtureRequest, wanted: Wanted) -> Wanted:
    """The same streams with heads of either form."""
    return wanted if request.param == "as they are" else [(path, head._replace(**OLDER)) for path, head in wanted]


@pytest.mark.parametrize("cores", [1, 2, 5])
@pytest.mark.parametrize("order", [range(7), [6, 5, 0, 3, 3, 1, 4, 2]])
def test_threads_find_what_the_caller_finds_in_whatever_order_it_asks(
    heads: Wanted, order: Sequence[int], cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "cores", lambda: cores)
    checks = Checks(heads)
    assert [checks.of(i) for i in order] == [INTACT[i] for i in order]
    assert [has_head(*one) for one in heads] == INTACT


@pytest.mark.parametrize("at", [0, 20, 0.5, 0.999])
def test_a_stream_of_which_one_byte_is_another_has_not_its_head(wanted: Wanted, at: float) -> None:
    path, head = wanted[3]
    assert head.size is not None
    raw = bytearray(path.read_bytes())
    raw[int(at * head.size) if 0 < at < 1 else int(at)] ^= 1
    path.write_bytes(raw)
    assert not has_head(path, head)


def test_what_follows_a_head_is_not_asked_about(heads: Wanted) -> None:
    path, head = heads[3]
    with path.open("ab") as stream:
        stream.write(b"and whatever comes later\n")
    assert has_head(path, head)


def test_both_hashes_of_a_head_are_of_the_same_lines(wanted: Wanted) -> None:
    for path, head in wanted[:5]:
        assert head.size is not None
        lines = path.read_bytes().splitlines(keepends=True)
        assert b"".join(lines[: head.records]) == path.read_bytes()[: head.size]
        assert (rolled(path, head.records), file_sha256(path, head.size)) == (head.sha256, head.file_sha256)


def test_what_a_thread_has_found_is_not_worked_out_again(wanted: Wanted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "cores", lambda: 2)
    checks = Checks(wanted)
    wait(checks._futures)
    monkeypatch.setattr(hashing, "has_head", lambda *_: pytest.fail("it was found already"))
    assert [checks.of(i) for i in range(7)] == INTACT


def test_a_stream_that_cannot_be_read_is_an_error_for_whoever_asks(wanted: Wanted, tmp_path: Path) -> None:
    for head in (wanted[0][1], wanted[0][1]._replace(**OLDER)):
        checks = Checks([*wanted, (tmp_path, head)])
        wait(checks._futures, timeout=0.5)
        with pytest.raises(OutputError, match="cannot be read"):
            checks.of(7)


def test_whoever_waits_hears_of_whatever_stops_the_hashing(wanted: Wanted, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> bool:
        raise MemoryError

    monkeypatch.setattr(hashing, "cores", lambda: 2)
    monkeypatch.setattr(hashing, "has_head", full)
    checks = Checks(wanted)
    wait(checks._futures, timeout=30)
    with pytest.raises(MemoryError):
        checks.of(1)
