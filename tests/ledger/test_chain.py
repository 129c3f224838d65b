import json
import math
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import leonids
from leonids.errors import IntegrityError, OutputError, UsageError
from leonids.ledger.chain import Ledger, read_entries
from leonids.ledger.lines import FIRST, HEAD, LEDGER
from leonids.ledger.verify import verify

APPENDER = """
import sys
from pathlib import Path
from leonids.ledger.chain import Ledger
ledger = Ledger.open(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    entry = ledger.append("note", {"by": sys.argv[2], "number": number})
    print(entry.seq, flush=True)
"""

FULL_DISK = """
import resource, sys
from pathlib import Path
from leonids.errors import OutputError
from leonids.ledger.chain import Ledger
folder = Path(sys.argv[1])
ledger = Ledger.open(folder)
size = (folder / "ledger.jsonl").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 300, resource.RLIM_INFINITY))
try:
    ledger.append("note", {"text": "x" * 1000})
except OutputError as error:
    print(error)
ledger.append("note", {"text": "short"})
"""


def python(script, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(Path(leonids.__file__).parent.parent)}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def notes(folder):
    return [entry.body for entry in read_entries(folder) if entry.type == "note"]


def test_each_entry_is_bound_to_the_one_before(ledger):
    for number in range(3):
        ledger.append("note", {"number": number})
    entries = ledger.entries()
    assert [entry.seq for entry in entries] == [0, 1, 2, 3]
    assert [entry.prev for entry in entries] == [FIRST, *(entry.sha256 for entry in entries[:-1])]
    assert [entry.ts for entry in entries] == sorted(entry.ts for entry in entries)
    assert (ledger.head().count, ledger.head().sha256) == (4, entries[-1].sha256)
    assert verify(ledger.folder).ok


def test_opening_again_goes_on_and_begins_nothing(ledger, clock):
    ledger.append("note", {})
    again = Ledger.open(ledger.folder, clock=clock)
    assert again.entries() == ledger.entries()
    again.append("note", {})
    assert ledger.append("note", {}).seq == 3


def test_what_is_returned_is_what_is_read_back(ledger):
    entry = ledger.append("note", {"numbers": (1.0, 0.5, -0.0), "text": "é\n\u2028"})
    assert read_entries(ledger.folder)[-1] == entry


@pytest.mark.parametrize("kind", ["genesis", "register", "amend", "withdraw", "Verdict", ""])
def test_only_the_types_for_appending_are_appended(ledger, kind):
    with pytest.raises(UsageError):
        ledger.append(kind, {})


@pytest.mark.parametrize("value", [math.nan, math.inf, 2**53, {1, 2}])
def test_a_number_that_json_lacks_does_not_enter(ledger, value):
    with pytest.raises(UsageError, match="cannot be sealed"):
        ledger.append("verdict", {"estimate": value})
    assert ledger.head().count == 1


def test_processes_that_append_at_once_lose_nothing(tmp_path):
    each = 100
    writers = [python(APPENDER, tmp_path, name, each) for name in ("one", "two")]
    told = [[int(line) for line in writer.communicate()[0].split()] for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0]
    assert sorted(told[0] + told[1]) == list(range(1, 2 * each + 1))
    for name in ("one", "two"):
        assert [body["number"] for body in notes(tmp_path) if body["by"] == name] == list(range(each))
    assert verify(tmp_path).ok


def test_an_append_that_no_lock_held_back_is_named_and_nothing_is_appended_after_it(ledger):
    other = Ledger.open(ledger.folder)
    ledger.append("note", {"by": "one"})
    # As on a network file system that does not keep the lock: the other has not read what was just written.
    other._append("note", {"by": "two"})
    with pytest.raises(IntegrityError, match=r"ledger\.jsonl:3: it does not follow"):
        ledger.append("note", {})
    assert {"ledger.jsonl:3"} == {p.place for p in verify(ledger.folder).problems if p.place.startswith(LEDGER)}
    assert (ledger.folder / LEDGER).read_bytes().count(b'"by":') == 2


def test_a_killed_writer_leaves_all_that_it_had_acknowledged(tmp_path):
    acknowledged = []
    for turn in range(4):
        writer = python(APPENDER, tmp_path, turn, 10_000)
        told = [int(writer.stdout.readline())]
        time.sleep(0.013 * turn)
        writer.send_signal(signal.SIGKILL)
        told += [int(line) for line in writer.communicate()[0].split("\n")[:-1]]
        acknowledged += told
        Ledger.repair(tmp_path)
    Ledger.open(tmp_path).append("note", {"by": "after"})
    assert set(acknowledged) <= {entry.seq for entry in read_entries(tmp_path)}
    assert verify(tmp_path).ok


def test_a_witness_that_a_crash_left_behind_is_repaired_by_the_next_append(ledger, clock):
    ledger.append("note", {})
    behind = (ledger.folder / HEAD).read_bytes()
    ledger.append("note", {})
    (ledger.folder / HEAD).write_bytes(behind)
    report = verify(ledger.folder)
    assert report.ok
    assert any("1 entries behind" in text for text in report.not_proven)
    Ledger.open(ledger.folder, clock=clock).append("note", {})
    assert json.loads((ledger.folder / HEAD).read_bytes())["count"] == 4


def test_a_first_entry_without_its_witness_is_taken_up(ledger, clock):
    (ledger.folder / HEAD).unlink()
    Ledger.open(ledger.folder, clock=clock).append("note", {})
    assert verify(ledger.folder).ok


@settings(max_examples=40)
@given(st.data())
def test_a_half_written_line_is_refused_by_place_and_repaired_in_view(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("half")
    ledger = Ledger.open(folder)
    before, head = (folder / LEDGER).read_bytes(), (folder / HEAD).read_bytes()
    ledger.append("note", {"text": "an entry"})
    line = (folder / LEDGER).read_bytes()[len(before) :]
    kept = data.draw(st.integers(1, len(line) - 1))
    zeros = b"\0" * data.draw(st.integers(0, 3)) if kept < len(line) - 1 else b""
    (folder / LEDGER).write_bytes(before + line[:kept] + zeros)
    (folder / HEAD).write_bytes(head)
    with pytest.raises(IntegrityError, match=r"ledger\.jsonl:2: \d+ bytes without a newline.*repair"):
        Ledger.open(folder)
    note = Ledger.repair(folder)
    assert note.body["about"] == "repair"
    whole = kept == len(line) - 1
    assert note.body["completed" if whole else "removed"]["bytes"] == kept + len(zeros)
    assert [body.get("text") for body in notes(folder)] == ["an entry", None][0 if whole else 1 :]
    assert verify(folder).ok


@pytest.mark.parametrize("rest", [b"junk", b'{"seq":1}', b'\xef\xbb\xbf{"body":', b"\r"])
def test_bytes_that_no_crash_leaves_are_not_repaired(ledger, rest):
    path = ledger.folder / LEDGER
    path.write_bytes(path.read_bytes() + rest)
    before = path.read_bytes()
    with pytest.raises(IntegrityError, match=r"ledger\.jsonl:2: .*no part of an entry"):
        Ledger.repair(ledger.folder)
    assert path.read_bytes() == before


def test_repairing_a_whole_ledger_changes_nothing(ledger):
    before = (ledger.folder / LEDGER).read_bytes()
    assert Ledger.repair(ledger.folder) is None
    assert (ledger.folder / LEDGER).read_bytes() == before


def cut_last_line(folder):
    path = folder / LEDGER
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def cut_last_byte(folder):
    path = folder / LEDGER
    path.write_bytes(path.read_bytes()[:-1])


def change_a_byte(folder):
    path = folder / LEDGER
    path.write_bytes(path.read_bytes().replace(b"an entry", b"an Entry", 1))


def drop_a_line(folder):
    path = folder / LEDGER
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:1] + lines[2:]))


@pytest.mark.parametrize(
    "harm",
    [
        cut_last_line,
        cut_last_byte,
        change_a_byte,
        drop_a_line,
        lambda folder: (folder / LEDGER).unlink(),
        lambda folder: (folder / HEAD).unlink(),
        lambda folder: (folder / HEAD).write_bytes(b""),
    ],
)
def test_nothing_is_appended_to_a_ledger_that_was_changed(ledger, harm):
    ledger.append("note", {"text": "an entry"})
    ledger.append("note", {})
    harm(ledger.folder)
    for opener in (Ledger.open, Ledger.repair):
        with pytest.raises(IntegrityError):
            opener(ledger.folder)
    assert not verify(ledger.folder).ok


def test_a_ledger_cut_while_it_is_open_is_noticed(ledger):
    ledger.append("note", {})
    cut_last_line(ledger.folder)
    for use in (ledger.entries, ledger.head, lambda: ledger.append("note", {})):
        with pytest.raises(IntegrityError, match="shrank"):
            use()


def test_time_stands_still_while_the_clock_is_set_back(ledger, clock):
    late = ledger.append("note", {}).ts
    clock.now -= timedelta(days=1)
    assert ledger.append("note", {}).ts == late
    clock.now += timedelta(days=2)
    assert ledger.append("note", {}).ts > late
    assert verify(ledger.folder).ok


def test_a_full_disk_adds_nothing_and_breaks_nothing(tmp_path):
    process = python(FULL_DISK, tmp_path)
    told = process.communicate()[0]
    assert "cannot be written" in told
    assert process.returncode == 0
    assert notes(tmp_path) == [{"text": "short"}]
    assert verify(tmp_path).ok


def test_a_folder_that_cannot_be_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written") as caught:
        Ledger.open(tmp_path / "file" / "out")
    assert "\n" not in str(caught.value)


def test_reading_begins_no_ledger(tmp_path):
    with pytest.raises(UsageError, match=r"holds no ledger\.jsonl"):
        read_entries(tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_sealed_file_must_exist(ledger):
    with pytest.raises(OutputError, match=r"study\.yaml cannot be read"):
        ledger.register([{"id": "H1"}], files=["study.yaml"])
    assert ledger.head().count == 1
