"""Attacks on a study's folder: each is found with its file and line, graded late, or said to need an anchor."""

import json
import re
import sys
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from leonids import cli
from leonids.ledger.chain import Ledger, read_entries
from leonids.ledger.entry import seal
from leonids.ledger.lines import FIRST, HEAD, LEDGER, head_bytes
from leonids.ledger.runs import RunWriter
from leonids.spec import load_study
from leonids.study.conduct import conduct, register
from leonids.study.plan import Choices, Plan, make_plan

STEPS, REVIEWS = "wide.s0/steps.jsonl", "wide.s0/reviews.jsonl"
NEEDS_ANCHOR = "unproven without an anchor: "

Change = Callable[[list[bytes]], list[bytes]]


@pytest.fixture
def folder(plan: Plan, tmp_path: Path, train: Any, notes: Any) -> Path:
    """A study of two runs, each prediction judged."""
    train()
    conduct(plan, tmp_path / "out", resume=False, watch=notes)
    return tmp_path / "out"


Told = Callable[..., tuple[int, str]]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Told:
    """Run a command; return its exit code and what it said."""

    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["leonids", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(str(ended.value.code or 0)), said.out + said.err

    return run


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def replaced(old: bytes, new: bytes) -> Change:
    def change(lines: list[bytes]) -> list[bytes]:
        assert any(old in line for line in lines)
        return [line.replace(old, new) for line in lines]

    return change


ON_A_LINE: list[tuple[str, str, Change, str]] = [
    # (the attack, the file, the change, where verify finds it and why)
    ("edit", LEDGER, replaced(b'"below":0.9', b'"below":0.95'), r"ledger.jsonl:\d+: its content does not match"),
    ("edit a number of a run", STEPS, replaced(b'"wall_s":0.5', b'"wall_s":0.4'), f"{STEPS}:2: its content"),
    ("delete", LEDGER, lambda lines: [*lines[:3], *lines[4:]], "ledger.jsonl:4: its seq is 4 where 3 belongs"),
    ("delete from a run", REVIEWS, lambda lines: [*lines[:3], *lines[4:]], f"{REVIEWS}:4: its content, or a line"),
    ("reorder", LEDGER, lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]], "ledger.jsonl:4: its seq is 4"),
    ("cut the tail", LEDGER, lambda lines: lines[:-1], "ledger.head: it does not witness the last of"),
    ("cut a run's tail", REVIEWS, lambda lines: lines[:-1], rf"{REVIEWS}:\d+: ledger.jsonl:\d+ sealed \d+ lines"),
    ("what no run writes", REVIEWS, replaced(b'"index":', b'"index":[],"was":'), f"{REVIEWS}:2: its content"),
    ("counts of nothing", REVIEWS, replaced(b",1]", b",0]"), f"{REVIEWS}:2: its content"),
    ("duplicate keys", LEDGER, replaced(b'"v":1}', b'"v":1,"v":1}'), "ledger.jsonl:1: the key 'v' stands twice"),
    ("1e400", LEDGER, replaced(b'"below":0.9', b'"below":1e400'), "1e400 is beyond the range of numbers"),
    ("NaN", LEDGER, replaced(b'"below":0.9', b'"below":NaN'), "NaN is not a JSON number"),
    ("BOM", LEDGER, lambda lines: [b"\xef\xbb\xbf" + lines[0], *lines[1:]], "ledger.jsonl:1: it begins with a byte"),
    ("CRLF", LEDGER, lambda lines: [line[:-1] + b"\r\n" for line in lines], "ledger.jsonl:1: it ends in CR LF"),
]


@pytest.mark.parametrize(("name", "change", "why"), [a[1:] for a in ON_A_LINE], ids=[a[0] for a in ON_A_LINE])
def test_a_changed_line_is_found_with_its_file_and_no_verdict_rests_on_it(
    folder: Path, told: Told, name: str, change: Change, why: str
) -> None:
    (folder / name).write_bytes(b"".join(change(lines_of(folder / name))))
    status, said = told("verify", folder)
    assert status == 3
    assert re.search(f"BROKEN   .*{why}", said)
    status, said = told("judge", folder, "--json")
    if name == LEDGER:
        assert (status, said.startswith("[")) == (3, False)
    elif name == REVIEWS:
        assert {(v["word"], v["grade"]) for v in json.loads(said)} == {("void", "broken")}


def test_swap_a_run_stream(folder: Path, told: Told) -> None:
    for stream in ("steps.jsonl", "reviews.jsonl"):
        (folder / "wide.s0" / stream).rename(folder / "aside")
        (folder / "thin.s0" / stream).rename(folder / "wide.s0" / stream)
        (folder / "aside").rename(folder / "thin.s0" / stream)
    status, said = told("verify", folder)
    assert status == 3
    for run in ("wide.s0", "thin.s0"):
        assert f"BROKEN   {run}/steps.jsonl:1: it does not quote this run" in said
    assert {(v["word"], v["grade"]) for v in json.loads(told("judge", folder, "--json")[1])} == {("void", "broken")}


def test_register_after_the_data(folder: Path, study_file: Path, told: Told) -> None:
    claim = study_file.parent / "late.yaml"
    measure = "{metric: match, split: test, arm: wide, seed: 0, final: true}"
    claim.write_text(f"id: H9\nsays: As it came.\nmeasure: {measure}\nexpect: {{above: 30%}}\nscope: run\n")
    assert told("amend", folder, claim, "--reason", "seen")[0] == 0
    (late,) = [v for v in json.loads(told("judge", folder, "--json")[1]) if v["prediction"] == "H9"]
    assert (late["word"], late["grade"]) == ("supported", "late")
    status, said = told("verify", folder)
    assert status == 0
    assert f"unproven run wide.s0 began before the predictions of {LEDGER}:{len(read_entries(folder))}" in said


def test_edit_the_yaml_after_the_lock(folder: Path, study_file: Path, told: Told) -> None:
    before = told("judge", folder, "--json")
    study_file.write_text(study_file.read_text().replace("below: 3.5", "below: 5.5"))
    status, said = told("run", study_file, "--out", folder, "--resume", "--scale", "nano")
    assert status == 1
    assert "another prediction H1.2" in said
    assert told("judge", folder, "--json") == before


def test_nfd_text_is_the_same_study(study_file: Path, tmp_path: Path) -> None:
    text = study_file.read_text().replace("Both learn.", "Both learn à la carte.").replace("half-time", "la mi-été")
    plans = []
    for form in ("NFC", "NFD"):
        study_file.write_text(unicodedata.normalize(form, text))
        plans.append(make_plan(load_study(study_file), Choices()))
    ledger = register(plans[0], tmp_path / "out")
    assert register(plans[1], tmp_path / "out", resume=True).head() == ledger.head()


def test_a_plan_that_states_a_prediction_otherwise_than_its_lock_is_refused(
    plan: Plan, tmp_path: Path, told: Told
) -> None:
    folder = tmp_path / "out"
    register(plan, folder)

    def state_otherwise(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            json.loads(json.dumps(entry).replace('"below": 0.9}', '"below": 0.95}'))
            if entry["type"] == "note"
            else entry
            for entry in entries
        ]

    sealed_anew(folder, state_otherwise)
    for command in (("judge", folder), ("verify", folder, "--rederive")):
        status, said = told(*command)
        assert status == 3, said
        assert "otherwise than ledger entry" in said


# What follows is done by someone who has all the code.


def sealed_anew(folder: Path, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    """Change the entries, then seal the chain and its witness again; the runs stay as they are."""
    entries = change([json.loads(line) for line in lines_of(folder / LEDGER)])
    lines, previous = [], FIRST
    for seq, entry in enumerate(entries):
        lines.append(seal(entry["type"], entry["body"], seq=seq, ts=entry["ts"], prev=previous) + b"\n")
        previous = json.loads(lines[-1])["sha256"]
    (folder / LEDGER).write_bytes(b"".join(lines))
    (folder / HEAD).write_bytes(head_bytes(len(lines), previous))


Entries = list[dict[str, Any]]


def lock_anew(entries: Entries) -> Entries:
    return [json.loads(json.dumps(entry).replace('"below": 0.9}', '"below": 0.95}')) for entry in entries]


def date_back(entries: Entries) -> Entries:
    stamp = "2020-01-01T00:00:00.000000Z"
    return [{**entry, "ts": stamp} if entry["type"] in ("genesis", "note", "register") else entry for entry in entries]


def move_the_lock_before_the_data(entries: Entries) -> Entries:
    """Only the late claim is moved: to the front, as if it had been there."""
    return [entries[0], entries[-1], *entries[1:-1]]


@pytest.mark.parametrize("attack", [lock_anew, date_back, move_the_lock_before_the_data])
def test_a_chain_sealed_anew_is_not_the_one_that_the_runs_name(
    folder: Path, told: Told, attack: Callable[[Entries], Entries]
) -> None:
    Ledger.open(folder).append("note", {"about": "late"})
    sealed_anew(folder, attack)
    status, said = told("verify", folder)
    assert status == 3
    for stream in (STEPS, REVIEWS):
        assert f"BROKEN   {stream}:1: it does not quote this run, its manifest and the ledger entry" in said
    assert {(v["word"], v["grade"]) for v in json.loads(told("judge", folder, "--json")[1])} == {("void", "broken")}


def test_cut_tail_and_head_shows_as_far_as_the_streams_reach_and_beyond_that_needs_an_anchor(
    folder: Path, told: Told
) -> None:
    entries = read_entries(folder)
    started = max(entry.count for entry in entries if entry.type == "data_start")
    for kept, found in ((len(entries) - 1, False), (started, False), (started - 1, True)):
        sealed_anew(folder, lambda whole, kept=kept: whole[:kept])  # type: ignore[misc]
        status, said = told("verify", folder)
        assert (status, f"BROKEN   {STEPS.replace('wide', 'thin')}: no ledger entry covers" in said) == (
            (3, True) if found else (0, False)
        )
        assert re.search(NEEDS_ANCHOR + ".*tail was not cut together with ledger.head", said)


def written_anew(old: Path, new: Path, *, clock: Callable[[], datetime]) -> None:
    """Write a whole study again, streams too, with another number in a prediction, in the order of the old one."""
    ledger, writers = Ledger.open(new, clock=clock), dict[str, RunWriter]()
    for entry in lock_anew([json.loads(line) for line in lines_of(old / LEDGER)])[1:]:
        body = entry["body"]
        run = body.get("run")
        if entry["type"] == "register":
            ledger.register(body["predictions"])
        elif entry["type"] == "data_start":
            manifest = json.loads((old / run / "manifest.json").read_bytes())
            writers[run] = RunWriter.create(new, run, manifest, ledger)
        elif entry["type"] in ("run_head", "run_end"):
            for name, stream in (("steps", writers[run].steps), ("reviews", writers[run].reviews)):
                for line in lines_of(old / run / f"{name}.jsonl")[stream.records : body["streams"][name]["records"]]:
                    stream.append({key: value for key, value in json.loads(line).items() if key != "sha256"})
            writers[run].finish() if entry["type"] == "run_end" else writers[run].commit()
        else:
            ledger.append(entry["type"], body)


@pytest.mark.parametrize("year", [2020, 2030], ids=["back-date", "re-lock after a failure"])
def test_a_whole_folder_written_anew_needs_an_anchor_and_verify_says_so(
    folder: Path, tmp_path: Path, told: Told, year: int
) -> None:
    written_anew(folder, tmp_path / "anew", clock=lambda: datetime(year, 1, 1, tzinfo=UTC))
    status, said = told("verify", tmp_path / "anew", "--rederive")
    assert status == 0
    assert re.search(
        NEEDS_ANCHOR + ".*written anew at a later time, as after a failure, or with a clock set back", said
    )


def test_re_lock_after_a_failure_in_the_same_folder_is_refused(folder: Path, study_file: Path, told: Told) -> None:
    study_file.write_text(study_file.read_text().replace("below: 3.5", "below: 5.5"))
    assert told("register", study_file, "--out", folder)[0] == 1
    (folder / LEDGER).unlink()
    assert told("verify", folder)[0] == 3
    (folder / HEAD).unlink()
    status, said = told("register", study_file, "--out", folder)
    assert (status, "is not empty" in said) == (1, True)
