import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import leonids
from leonids.errors import IntegrityError, OutputError, UsageError
from leonids.ledger.chain import Ledger
from leonids.ledger.runs import RunWriter, run_state
from leonids.ledger.streams import read_stream
from leonids.ledger.verify import verify

FULL_DISK = """
import resource, sys
from pathlib import Path
from leonids.errors import OutputError
from leonids.ledger.chain import Ledger
from leonids.ledger.runs import RunWriter
out = Path(sys.argv[1])
ledger = Ledger.open(out)
with RunWriter.create(out, "r", {}, ledger) as writer:
    writer.steps.append({"kind": "step", "step": 1})
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
    try:
        writer.steps.append({"kind": "step", "text": "x" * 9000})
    except OutputError as error:
        print(error)
    writer.steps.append({"kind": "step", "step": 2})
    writer.finish()
"""


def step(number):
    return {"kind": "step", "step": number, "metrics": {"loss": {"copied": [number / 3, 7]}}}


def write(writer, numbers):
    for number in numbers:
        writer.steps.append(step(number))
        if number % 3 == 0:
            writer.reviews.append({"kind": "observation", "step": number, "index": number})


def contents(out):
    return {path.name: path.read_bytes() for path in (out / "r").glob("*.json*")}


def kinds(out, stream="steps"):
    return [record.get("step", record["kind"]) for record in read_stream(out / "r" / f"{stream}.jsonl")]


def test_a_run_names_the_ledger_that_it_follows(ledger):
    locked = ledger.register([{"id": "H1"}])[-1]
    RunWriter.create(ledger.folder, "r", {"config": {"rank": 8}}, ledger).finish()
    first = next(read_stream(ledger.folder / "r" / "steps.jsonl"))
    start = ledger.entries()[first["ledger"]["count"] - 1]
    assert (start.type, start.sha256, start.body["run"]) == ("data_start", first["ledger"]["sha256"], "r")
    assert start.seq > locked.seq
    assert first["manifest"] == start.body["manifest"]


def test_what_is_appended_is_what_is_read_while_the_run_goes_on(ledger):
    with RunWriter.create(ledger.folder, "r", {}, ledger) as writer:
        write(writer, range(4))
        assert kinds(ledger.folder) == ["data_start", 0, 1, 2, 3]
        records = list(read_stream(ledger.folder / "r" / "steps.jsonl"))[1:]
        assert [{k: v for k, v in record.items() if k != "sha256"} for record in records] == [step(n) for n in range(4)]


def test_a_line_that_is_being_written_is_left_out(ledger):
    with RunWriter.create(ledger.folder, "r", {}, ledger) as writer:
        write(writer, range(2))
    path = ledger.folder / "r" / "steps.jsonl"
    whole = path.read_bytes()
    for kept in range(1, len(whole.splitlines()[-1]) + 1):
        path.write_bytes(whole[:-kept])
        assert kinds(ledger.folder) == ["data_start", 0]


def test_a_complete_line_that_is_not_json_is_named(ledger):
    with RunWriter.create(ledger.folder, "r", {}, ledger) as writer:
        write(writer, range(2))
    path = ledger.folder / "r" / "steps.jsonl"
    path.write_bytes(path.read_bytes().replace(b'{"kind":"step"', b'"kind":"step"', 1))
    with pytest.raises(IntegrityError, match=r"steps\.jsonl:2"):
        list(read_stream(path))


def test_numbers_that_are_not_finite_are_written_and_read_back(ledger):
    with RunWriter.create(ledger.folder, "r", {}, ledger) as writer:
        writer.steps.append({"kind": "step", "x": [math.nan, math.inf, -math.inf, 0.5]})
        writer.finish()
    values = [float(x) for x in list(read_stream(ledger.folder / "r" / "steps.jsonl"))[1]["x"]]
    assert math.isnan(values[0])
    assert values[1:] == [math.inf, -math.inf, 0.5]
    assert verify(ledger.folder).ok


@pytest.mark.parametrize("bad", [{"x": {1, 2}}, {"x": 2**60}, {1: "x"}, {"x": object()}])
def test_a_record_that_is_not_json_is_refused_and_leaves_the_stream_whole(ledger, bad):
    with RunWriter.create(ledger.folder, "r", {}, ledger) as writer:
        with pytest.raises(UsageError, match=r"steps\.jsonl"):
            writer.steps.append(bad)
        write(writer, range(1))
        writer.finish()
    assert verify(ledger.folder).ok


def test_a_run_has_one_writer(ledger):
    with (
        RunWriter.create(ledger.folder, "r", {}, ledger) as writer,
        pytest.raises(OutputError, match="being written by another process"),
    ):
        RunWriter.resume(ledger.folder, "r", ledger, writer.watermark())


@pytest.mark.parametrize("end", [RunWriter.finish, RunWriter.close])
def test_a_run_is_never_written_over(ledger, end):
    writer = RunWriter.create(ledger.folder, "r", {}, ledger)
    write(writer, range(2))
    end(writer)
    before = contents(ledger.folder)
    with pytest.raises(OutputError, match="holds a run already"):
        RunWriter.create(ledger.folder, "r", {"other": 1}, ledger)
    assert contents(ledger.folder) == before


def test_a_stream_that_the_ledger_does_not_know_is_not_written_over(ledger):
    (ledger.folder / "r").mkdir()
    (ledger.folder / "r" / "steps.jsonl").write_text("mine\n")
    with pytest.raises(OutputError, match="holds a run already"):
        RunWriter.create(ledger.folder, "r", {}, ledger)
    assert (ledger.folder / "r" / "steps.jsonl").read_text() == "mine\n"


@pytest.mark.parametrize("name", ["", "..", "a/b", "../x", ".hidden", "x" * 65, "a b", "r\n"])
def test_a_name_that_is_no_folder_of_its_own_is_refused(ledger, name):
    with pytest.raises(UsageError, match="not the name of a run"):
        RunWriter.create(ledger.folder, name, {}, ledger)


@settings(max_examples=15)
@given(checkpoint=st.integers(0, 9), killed=st.integers(0, 9), torn=st.integers(0, 30))
def test_a_killed_and_resumed_run_has_the_streams_of_one_that_was_not(tmp_path_factory, checkpoint, killed, torn):
    checkpoint, killed = min(checkpoint, killed), max(checkpoint, killed)
    plain, broken = tmp_path_factory.mktemp("plain"), tmp_path_factory.mktemp("broken")
    with RunWriter.create(plain, "r", {"rank": 8}, Ledger.open(plain)) as writer:
        shutil.copytree(plain, broken, dirs_exist_ok=True)
        write(writer, range(10))
    ledger = Ledger.open(broken)
    with RunWriter.resume(broken, "r", ledger, None) as writer:
        write(writer, range(checkpoint))
        saved = json.loads(json.dumps(writer.watermark()))
        writer.commit(saved)
        write(writer, range(checkpoint, killed))
    path = broken / "r" / "steps.jsonl"
    path.write_bytes(path.read_bytes() + b'{"kind":"step","step":11,"metrics":'[:torn])
    with RunWriter.resume(broken, "r", ledger, saved) as writer:
        write(writer, range(checkpoint, 10))
        assert contents(broken) == contents(plain)
        writer.finish()
    assert verify(broken).ok
    assert [e.body["reached"]["steps"] for e in ledger.entries() if "reached" in e.body] == [1, killed + 1]


def test_a_checkpoint_older_than_what_the_ledger_sealed_is_refused(ledger):
    with RunWriter.create(ledger.folder, "r", {}, ledger) as writer:
        write(writer, range(2))
        old = writer.watermark()
        write(writer, range(2, 4))
        writer.commit()
    before = contents(ledger.folder)
    for stale in (old, None):
        with pytest.raises(IntegrityError, match="the ledger has sealed"):
            RunWriter.resume(ledger.folder, "r", ledger, stale)
    assert contents(ledger.folder) == before


def test_streams_that_are_not_the_checkpoints_are_refused_by_line(ledger):
    with RunWriter.create(ledger.folder, "r", {}, ledger) as writer:
        write(writer, range(5))
        mark = writer.watermark()
        writer.commit(mark)
    path = ledger.folder / "r" / "steps.jsonl"
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    attacks = [
        (whole.replace(b'"step":2', b'"step":7'), ":4: its content"),
        (b"".join(lines[:4]), ":5: the checkpoint counts 6 lines"),
        (whole[:-1], ":6: the checkpoint counts 6 lines"),
        (b"", ":1: the checkpoint counts 6 lines"),
    ]
    for content, place in attacks:
        path.write_bytes(content)
        with pytest.raises(IntegrityError, match=rf"steps\.jsonl{place}"):
            RunWriter.resume(ledger.folder, "r", ledger, mark)
        assert path.read_bytes() == content
    path.write_bytes(whole)
    with pytest.raises(IntegrityError, match="not the line that the checkpoint was made at"):
        RunWriter.resume(ledger.folder, "r", ledger, {**mark, "steps": {**mark["steps"], "sha256": "0" * 64}})
    RunWriter.resume(ledger.folder, "r", ledger, mark).close()


@pytest.mark.parametrize(
    "mark", [{}, {"steps": 3}, {"steps": {"records": 1, "sha256": "x"}}, {"steps": {}, "reviews": {}}]
)
def test_a_watermark_that_is_none_is_refused(ledger, mark):
    RunWriter.create(ledger.folder, "r", {}, ledger).close()
    with pytest.raises(IntegrityError, match="watermark"):
        RunWriter.resume(ledger.folder, "r", ledger, mark)


def test_a_changed_manifest_is_not_resumed(ledger):
    RunWriter.create(ledger.folder, "r", {"rank": 8}, ledger).close()
    path = ledger.folder / "r" / "manifest.json"
    path.write_text(path.read_text().replace("8", "9"))
    with pytest.raises(IntegrityError, match=r"manifest\.json is not the file"):
        RunWriter.resume(ledger.folder, "r", ledger, None)


def test_only_a_started_unfinished_run_is_resumed(ledger):
    assert run_state(ledger.entries(), "r") == "absent"
    with pytest.raises(UsageError, match="never started"):
        RunWriter.resume(ledger.folder, "r", ledger, None)
    writer = RunWriter.create(ledger.folder, "r", {}, ledger)
    assert run_state(ledger.entries(), "r") == "started"
    mark = writer.watermark()
    writer.finish()
    assert run_state(ledger.entries(), "r") == "finished"
    with pytest.raises(UsageError, match="has ended"):
        RunWriter.resume(ledger.folder, "r", ledger, mark)


@pytest.mark.parametrize("left", [None, b"", b'{"kind":"data_sta'])
def test_a_crash_between_the_ledger_and_the_first_lines_is_made_good(ledger, left):
    RunWriter.create(ledger.folder, "r", {}, ledger).close()
    expected = contents(ledger.folder)
    path = ledger.folder / "r" / "reviews.jsonl"
    path.unlink()
    if left is not None:
        path.write_bytes(left)
    with RunWriter.resume(ledger.folder, "r", ledger, None) as writer:
        assert contents(ledger.folder) == expected
        writer.finish()
    assert verify(ledger.folder).ok


def test_a_full_disk_ends_the_stream_at_a_whole_line(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path(leonids.__file__).parent.parent)}
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path)]
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment).stdout
    assert "steps.jsonl cannot be written" in told
    assert kinds(tmp_path) == ["data_start", 1, 2]
    assert verify(tmp_path).ok


def test_secrets_do_not_reach_the_manifest(ledger):
    RunWriter.create(
        ledger.folder, "r", {"env": {"HF_TOKEN": "abc-secret"}, "url": "https://me:pw@host/"}, ledger
    ).close()
    text = (ledger.folder / "r" / "manifest.json").read_text()
    assert "abc-secret" not in text
    assert "me:pw" not in text
