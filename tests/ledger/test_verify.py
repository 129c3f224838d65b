import hashlib
import json
import shutil
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leonids.ledger.bundle import write_verifier
from leonids.ledger.chain import Ledger, read_entries
from leonids.ledger.entry import seal
from leonids.ledger.lines import HEAD, LEDGER
from leonids.ledger.runs import RunWriter
from leonids.ledger.verify import main, verify

STREAM_FILES = ["r8/steps.jsonl", "r8/reviews.jsonl", "r128/steps.jsonl", "r128/reviews.jsonl"]
LINED = [LEDGER, *STREAM_FILES]
SEALED = [*LINED, HEAD, "r8/manifest.json", "r128/manifest.json", "study.yaml"]


def places(folder):
    return [problem.place for problem in verify(folder).problems]


def told(folder):
    return "\n".join(verify(folder).lines())


@pytest.fixture(scope="module")
def untouched(_finished, tmp_path_factory):
    """One finished folder for property tests, which put back what they change."""
    folder = tmp_path_factory.mktemp("untouched") / "out"
    shutil.copytree(_finished, folder)
    yield folder
    assert verify(folder).ok


def harmed(folder, name, content):
    """The places that verify names while a file has another content."""
    path = folder / name
    whole = path.read_bytes()
    path.write_bytes(content)
    try:
        return places(folder)
    finally:
        path.write_bytes(whole)


def test_a_finished_folder_is_whole_and_says_what_that_does_not_prove(finished):
    report = verify(finished)
    assert report.ok
    assert [text.split(":")[0] for text in report.checked] == [LEDGER, HEAD, "predictions", *STREAM_FILES, "files"]
    assert any(text.startswith("without an anchor") for text in report.not_proven)


@given(data=st.data())
def test_any_changed_byte_of_any_file_is_named(untouched, data):
    name = data.draw(st.sampled_from(SEALED))
    whole = (untouched / name).read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != whole[at]))
    found = harmed(untouched, name, whole[:at] + bytes([byte]) + whole[at + 1 :])
    assert (f"{name}:{whole[:at].count(10) + 1}" if name in LINED else name) in found


@given(data=st.data())
def test_any_cut_of_any_file_is_named(untouched, data):
    name = data.draw(st.sampled_from(SEALED))
    whole = (untouched / name).read_bytes()
    kept = data.draw(st.integers(0, len(whole) - 1))
    found = harmed(untouched, name, whole[:kept])
    if name == LEDGER:
        assert HEAD in found or any(place.startswith(LEDGER) for place in found)
    else:
        assert (f"{name}:{whole[:kept].count(10) + 1}" if name in LINED else name) in found


@pytest.mark.parametrize("name", LINED)
def test_a_cut_last_line_is_named(untouched, name):
    lines = (untouched / name).read_bytes().splitlines(keepends=True)
    found = harmed(untouched, name, b"".join(lines[:-1]))
    assert (HEAD if name == LEDGER else f"{name}:{len(lines)}") in found


@given(data=st.data())
def test_lines_that_are_deleted_doubled_or_moved_are_named(untouched, data):
    name = data.draw(st.sampled_from(LINED))
    lines = (untouched / name).read_bytes().splitlines(keepends=True)
    at = data.draw(st.integers(0, len(lines) - 2))
    change = data.draw(st.sampled_from(["delete", "double", "swap"]))
    middle = {"delete": [], "double": [lines[at]] * 2, "swap": [lines[at + 1], lines[at]]}[change]
    rest = lines[at + 2 :] if change == "swap" else lines[at + 1 :]
    found = harmed(untouched, name, b"".join([*lines[:at], *middle, *rest]))
    place = at + 2 if change == "double" else at + 1
    assert f"{name}:{place}" in found


@pytest.mark.parametrize("name", LINED)
@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (lambda raw: b"\xef\xbb\xbf" + raw, "byte order mark|sha256"),
        (lambda raw: raw.replace(b"\n", b"\r\n"), "CR LF|sha256"),
        (lambda raw: raw.replace(b'"v":1', b'"v":1,"v":1', 1), "stands twice|sha256"),
        (lambda raw: raw.replace(b'"v":1', b'"v":NaN', 1), "NaN|sha256"),
        (lambda raw: raw.replace(b'"v":1', b'"v":1e400', 1), "beyond the range|sha256"),
        (lambda raw: raw.replace(b'"v":1', b'"v": 1', 1), "canonical form|sha256"),
        (lambda raw: raw + b"\n", "not JSON|sha256"),
        (lambda raw: b"", "missing|sealed"),
    ],
)
def test_another_way_to_write_the_same_is_refused(untouched, name, harm, why):
    whole = (untouched / name).read_bytes()
    assert any(place.startswith(f"{name}:") for place in harmed(untouched, name, harm(whole)))
    (untouched / name).write_bytes(harm(whole))
    try:
        assert any(part in told(untouched) for part in why.split("|"))
    finally:
        (untouched / name).write_bytes(whole)


@pytest.mark.parametrize("name", [*SEALED, "r8", "r128"])
def test_a_missing_file_or_run_is_named(finished, name):
    path = finished / name
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    assert any(place.startswith(name) for place in places(finished))


@pytest.mark.parametrize(
    ("one", "other"),
    [("r8/steps.jsonl", "r128/steps.jsonl"), ("r8/steps.jsonl", "r8/reviews.jsonl"), ("r8", "r128")],
)
def test_streams_that_are_swapped_are_named(finished, one, other):
    (finished / one).rename(finished / "aside")
    (finished / other).rename(finished / one)
    (finished / "aside").rename(finished / other)
    assert {place.split(":")[0].split("/")[0] for place in places(finished)} >= {one.split("/")[0], other.split("/")[0]}
    assert "does not quote this run" in told(finished)


def test_a_stream_file_that_no_entry_covers_is_named(finished):
    (finished / "r8" / "extra.jsonl").write_text("{}\n")
    (finished / "best").mkdir()
    (finished / "best" / "steps.jsonl").write_text("{}\n")
    assert places(finished) == ["best/steps.jsonl", "r8/extra.jsonl"]


def test_a_file_that_an_entry_seals_is_covered(finished):
    (finished / "log.jsonl").write_text("{}\n")
    digest = hashlib.sha256(b"{}\n").hexdigest()
    Ledger.open(finished).append("import", {"run": "x", "files": {"log.jsonl": digest}})
    assert verify(finished).ok
    (finished / "log.jsonl").write_text('{"better":1}\n')
    assert places(finished) == ["log.jsonl"]


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "a\0b"])
def test_a_sealed_name_outside_the_folder_is_not_followed(finished, name):
    Ledger.open(finished).append("import", {"run": "x", "files": {name: "0" * 64}})
    assert "lies outside the folder" in told(finished)


# What follows is done by someone who has all the code and seals the whole chain and its witness anew.


def test_a_tail_cut_together_with_its_witness_shows_as_far_as_the_streams_reach(finished, rebuilt, tmp_path):
    entries = read_entries(finished)
    starts = [entry.count for entry in entries if entry.type == "data_start"]
    ends = [entry.count for entry in entries if entry.type == "run_end"]
    for kept in range(1, len(entries)):
        folder = shutil.copytree(finished, tmp_path / str(kept))
        rebuilt(folder, lambda all_entries, kept=kept: all_entries[:kept])
        if kept < max(starts):
            assert "no ledger entry covers this file" in told(folder)
        else:
            assert verify(folder).ok
            assert "tail was not cut together" in told(folder)
            assert ("the run has not ended" in told(folder)) == (kept < max(ends))


def test_an_anchor_says_what_cutting_the_tail_cannot_undo(finished, rebuilt):
    head = Ledger.open(finished).head()
    Ledger.open(finished).append("anchor", {"kind": "git", "head": {"count": head.count, "sha256": head.sha256}})
    assert "outside proofs" in told(finished)
    assert "without an anchor" not in told(finished)
    rebuilt(finished, lambda entries: [*entries[:-3], *entries[-2:]])
    assert "anchor quotes" in told(finished)


def lock_anew(entries):
    entries[1]["body"]["predictions"][0]["expect"] = {"between": [0.1, 0.9]}
    return entries


def lock_once_more(entries):
    return [*entries, {**entries[1], "ts": entries[-1]["ts"]}]


def date_back(entries):
    entries[1]["ts"] = "2020-01-01T00:00:00.000000Z"
    return entries


def move_the_lock_before_the_data(entries):
    return [entries[0], entries[2], entries[1], *entries[3:]]


def amend_without_a_reason(entries):
    prediction = {"id": "H1.1", "expect": {"below": 9}}
    return [*entries, {**entries[-1], "type": "amend", "body": {"prediction": prediction, "reason": ""}}]


def judge_what_was_not_registered(entries):
    entries[-1]["body"]["verdicts"][0]["prediction"] = "H7"
    return entries


def start_twice(entries):
    return [*entries, {**entries[2], "ts": entries[-1]["ts"]}]


def go_on_after_the_end(entries):
    end = next(entry for entry in entries if entry["type"] == "run_end")
    return [*entries, {**end, "type": "run_head", "ts": entries[-1]["ts"]}]


def seal_less(entries):
    entries[-2]["body"]["streams"]["steps"] = entries[2 + 1]["body"]["streams"]["steps"]
    return entries


def _last_head(entries):
    return next(entry for entry in reversed(entries) if entry["type"] == "run_end")["body"]["streams"]["steps"]


def state_another_hash_of_the_bytes(entries):
    _last_head(entries)["file_sha256"] = "0" * 64
    return entries


def state_fewer_bytes(entries):
    _last_head(entries)["bytes"] -= 1
    return entries


def state_bytes_alone(entries):
    del _last_head(entries)["file_sha256"]
    return entries


def state_a_list_of_bytes(entries):
    _last_head(entries)["bytes"] = [1]
    return entries


def name_a_folder_elsewhere(entries):
    start = {**entries[2], "ts": entries[-1]["ts"], "body": {"run": "../elsewhere", "manifest": ""}}
    return [*entries, start]


@pytest.mark.parametrize(
    ("attack", "why"),
    [
        (lock_anew, "does not quote this run"),
        (lock_once_more, "registered a second time"),
        (date_back, "is before the entry above it"),
        (move_the_lock_before_the_data, "does not quote this run"),
        (amend_without_a_reason, "gives no reason"),
        (judge_what_was_not_registered, "H7 was not registered before this verdict"),
        (start_twice, "starts a second time"),
        (go_on_after_the_end, "had ended before this"),
        (seal_less, "goes back from|not the line"),
        (state_another_hash_of_the_bytes, "of the bytes of r128/steps.jsonl up to line"),
        (state_fewer_bytes, "of the bytes of r128/steps.jsonl up to line"),
        (state_a_list_of_bytes, "does not state the bytes of its lines and their file_sha256 together"),
        (state_bytes_alone, "does not state the bytes of its lines and their file_sha256 together"),
        (name_a_folder_elsewhere, "is not the name of a run"),
    ],
)
def test_a_chain_that_was_sealed_anew_still_contradicts_itself(finished, rebuilt, attack, why):
    rebuilt(finished, attack)
    assert any(part in told(finished) for part in why.split("|"))
    assert not verify(finished).ok


def test_heads_of_the_first_form_say_nothing_of_bytes_and_are_whole(finished, rebuilt):
    def without_bytes(entries):
        last_start = max(entry["seq"] for entry in entries if entry["type"] == "data_start")
        for entry in entries[last_start:]:
            for head in entry["body"].get("streams", {}).values():
                del head["bytes"], head["file_sha256"]
        return entries

    rebuilt(finished, without_bytes)
    assert verify(finished).ok


def test_a_prediction_that_came_after_the_data_is_said(finished):
    Ledger.open(finished).register([{"id": "H9"}])
    report = verify(finished)
    assert report.ok
    count = len(read_entries(finished))
    assert f"run r8 began before the predictions of ledger.jsonl:{count}" in report.not_proven
    assert "no verdict is recorded for H9" in report.not_proven


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["id", "run", "count"]), inner),
    max_leaves=5,
)
KEYS = ["run", "streams", "steps", "predictions", "prediction", "verdicts", "files", "head", "manifest", "reason"]


@given(data=st.data())
def test_a_well_sealed_entry_of_any_content_is_judged_without_a_crash(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("any")
    kinds = ["register", "amend", "withdraw", "data_start", "run_head", "run_end", "import", "verdict", "anchor"]
    lines = [seal("genesis", {}, seq=0, ts="2026-01-01T00:00:00.000000Z", prev="0" * 64)]
    for seq in range(1, 4):
        body = data.draw(st.dictionaries(st.sampled_from(KEYS), JSON))
        previous = json.loads(lines[-1])
        kind = data.draw(st.sampled_from(kinds))
        lines.append(seal(kind, body, seq=seq, ts=previous["ts"], prev=previous["sha256"]))
    (folder / LEDGER).write_bytes(b"".join(line + b"\n" for line in lines))
    assert HEAD in places(folder)


# Runs that have not ended.


@pytest.fixture
def running(ledger):
    ledger.register([{"id": "H1"}])
    writer = RunWriter.create(ledger.folder, "r", {}, ledger)
    for number in range(4):
        writer.steps.append({"kind": "step", "step": number})
    writer.commit()
    writer.steps.append({"kind": "step", "step": 4})
    writer.close()
    return ledger.folder


def test_lines_beyond_the_last_head_of_an_unfinished_run_are_allowed_and_said(running):
    report = verify(running)
    assert report.ok
    assert "r/steps.jsonl: the run has not ended; that its last 1 lines are all that was written" in report.not_proven
    with (running / "r" / "steps.jsonl").open("ab") as handle:
        handle.write(b'{"kind":"st')
    assert verify(running).ok
    assert "one more is being written or was cut short" in told(running)


def test_what_is_sealed_of_an_unfinished_run_cannot_change(running):
    path = running / "r" / "steps.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    assert harmed(running, "r/steps.jsonl", b"".join(lines[:4])) == ["r/steps.jsonl:5"]
    for line in range(len(lines)):
        changed = [*lines[:line], lines[line].replace(b'"kind":"', b'"kind":"x', 1), *lines[line + 1 :]]
        assert harmed(running, "r/steps.jsonl", b"".join(changed)) == [f"r/steps.jsonl:{line + 1}"]


# The one file that ships with reports.


def alone(script, *arguments):
    command = [sys.executable, "-I", "-S", str(script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_one_file_verifier_says_the_same_with_nothing_installed(finished, tmp_path):
    script = write_verifier(tmp_path)
    result = alone(script, finished)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == list(verify(finished).lines())
    (finished / "r8" / "manifest.json").write_text("{}")
    result = alone(script, finished)
    assert result.returncode == 3
    assert result.stdout.startswith("BROKEN   r8/manifest.json: ")
    assert result.stdout.splitlines() == list(verify(finished).lines())


def test_the_verifier_needs_a_folder(tmp_path, capsys):
    assert main([]) == main([str(tmp_path / "none")]) == main(["a", "b"]) == 2
    assert "usage" in capsys.readouterr().err
    assert main([str(tmp_path)]) == 3
    assert f"{LEDGER}:1: it is missing" in capsys.readouterr().out
