"""Several writers of one folder: the same verdicts as one, and each chain witnessed by the others."""

import json
import multiprocessing
import os
import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leonids.digest import Json
from leonids.errors import IntegrityError, OutputError, UsageError
from leonids.ledger.bundle import verifier_source
from leonids.ledger.chain import Ledger, chain_folder, read_entries
from leonids.ledger.entry import seal
from leonids.ledger.grades import grade, watermark_of
from leonids.ledger.lines import FIRST, HEAD, LEDGER, RUN_NAME, head_bytes
from leonids.ledger.runs import RunWriter
from leonids.ledger.verify import verify
from leonids.ledger.writers import claim, claim_all, owner, take_over
from leonids.report.checking import mend
from leonids.study import conduct as conducting
from leonids.study.conduct import conduct, judge_folder, register
from leonids.study.folder import StudyFolder
from leonids.study.join import join
from leonids.study.plan import Plan
from leonids.study.rederive import differences

FORK = multiprocessing.get_context("fork")
TWO, THREE = "writers/two/", "writers/three/"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conducting, "WAIT_S", 0.02)


@pytest.fixture
def shared(plan: Plan, tmp_path: Path, train: Any, notes: Any) -> Path:
    """A folder that three have written, one after another: two, three, and the main writer, who judged."""
    train()
    out = tmp_path / "shared"
    register(plan, out)
    join(out, writer="two", arms=["wide"], watch=notes)
    join(out, writer="three", arms=["thin"], watch=notes)
    conduct(plan, out, resume=True, watch=notes)
    return out


@pytest.mark.parametrize("joining", [{"two": "wide", "three": "thin"}, {"two": "thin"}])
def test_writers_in_processes_of_their_own_come_to_the_verdicts_of_one(
    joining: dict[str, str], plan: Plan, tmp_path: Path, train: Any, notes: Any, verdicts_in: Any
) -> None:
    train()
    alone, out = tmp_path / "alone", tmp_path / "shared"
    conduct(plan, alone, resume=False, watch=notes)
    register(plan, out)
    others = [
        FORK.Process(target=join, args=(out,), kwargs={"writer": name, "arms": [arm], "watch": notes})
        for name, arm in joining.items()
    ]
    for process in others:
        process.start()
    while not all(owner(out, f"{arm}.s0") for arm in joining.values()):
        assert all(process.exitcode in (None, 0) for process in others)
    folder = conduct(plan, out, resume=True, watch=notes)
    for process in others:
        process.join()
    assert [process.exitcode for process in others] == [0] * len(others)
    assert notes.awaited == {f"{arm}.s0": name for name, arm in joining.items()}
    assert folder.verdicts == StudyFolder.open(alone).verdicts
    assert verdicts_in(out)[-1] == verdicts_in(alone)[-1]
    assert {verdict["grade"] for verdict in folder.verdicts} == {"sealed"}
    assert verify(out).ok
    assert differences(out) == []


def test_a_writer_that_died_goes_on_with_the_same_call(
    plan: Plan, tmp_path: Path, train: Any, notes: Any, Died: type[Exception]
) -> None:
    train(dies_at=4)
    out = tmp_path / "out"
    register(plan, out)
    with pytest.raises(Died):
        join(out, writer="two", arms=["wide", "thin"], watch=notes)
    train()
    join(out, writer="two", arms=["wide", "thin"], watch=notes)
    folder = conduct(plan, out, resume=True, watch=notes)
    assert verify(out).ok
    assert "void" not in {verdict["word"] for verdict in folder.verdicts}


# --- attacks: what is done to a chain, where it is found, and what becomes of the verdicts


def cut(folder: Path, kept: int) -> None:
    """Cut a chain to its first entries, and its witness with it."""
    lines = (folder / LEDGER).read_bytes().splitlines(keepends=True)
    kept %= len(lines)
    (folder / LEDGER).write_bytes(b"".join(lines[:kept]))
    (folder / HEAD).write_bytes(head_bytes(kept, json.loads(lines[kept - 1])["sha256"]))


def rewrite(folder: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """Change entries and seal the whole chain and its witness anew, as whoever has all the code can."""
    entries = [json.loads(line) for line in (folder / LEDGER).read_bytes().splitlines()]
    change(entries)
    lines, previous = list[bytes](), FIRST
    for seq, entry in enumerate(entries):
        lines.append(seal(entry["type"], entry["body"], seq=seq, ts=entry["ts"], prev=previous))
        previous = json.loads(lines[-1])["sha256"]
    (folder / LEDGER).write_bytes(b"".join(line + b"\n" for line in lines))
    (folder / HEAD).write_bytes(head_bytes(len(lines), previous))


def lower_the_bar(entries: list[dict[str, Any]]) -> None:
    lock = next(entry for entry in entries if entry["type"] == "register")
    lock["body"]["predictions"][0]["expect"] = {"below": 0.95}


def claim_to_have_seen_more(entries: list[dict[str, Any]]) -> None:
    start = next(entry for entry in entries if entry["type"] == "data_start")
    start["body"]["sees"]["main"]["count"] += 1


def end_otherwise(entries: list[dict[str, Any]]) -> None:
    entries[-1]["body"]["note"] = "another end"


def edit_a_line(folder: Path) -> None:
    path = folder / LEDGER
    path.write_bytes(path.read_bytes().replace(b'"run":"wide.s0"', b'"run":"wide.s1"', 1))


def swap_streams(out: Path) -> None:
    for stream in ("steps.jsonl", "reviews.jsonl"):
        (out / "wide.s0" / stream).rename(out / "aside")
        (out / "thin.s0" / stream).rename(out / "wide.s0" / stream)
        (out / "aside").rename(out / "thin.s0" / stream)


def link_elsewhere(out: Path) -> None:
    (out / TWO).rename(out.parent / "elsewhere")
    (out / "writers" / "two").symlink_to(out.parent / "elsewhere")


def start_the_same_run(out: Path) -> None:
    manifest = read_entries(out, writer="two")[1].body["manifest"]
    Ledger.open(out, writer="four").append("data_start", {"run": "wide.s0", "manifest": manifest})


def judge_in_a_chain_of_runs(out: Path) -> None:
    entry = read_entries(out)[-1]
    line = seal("verdict", {**entry.body, "sees": {}}, seq=0, ts=entry.ts, prev=FIRST)
    (out / "writers/four").mkdir()
    (out / "writers/four" / LEDGER).write_bytes(line + b"\n")
    (out / "writers/four" / HEAD).write_bytes(head_bytes(1, json.loads(line)["sha256"]))


ATTACKS: list[tuple[str, Callable[[Path], object], str, str]] = [
    # (the attack, what is done, what verify says of it, what the judge then makes of the runs of two)
    ("cut a writer's tail and its head", lambda o: cut(o / TWO, -2), f"{TWO}ledger.jsonl:6: ledger.jsonl:", "broken"),
    ("take a writer's chain away", lambda o: shutil.rmtree(o / TWO), "and the chain is missing", "broken"),
    ("take all writers' chains away", lambda o: shutil.rmtree(o / "writers"), "and the chain is missing", "broken"),
    ("edit a writer's line", lambda o: edit_a_line(o / TWO), f"{TWO}ledger.jsonl:2: its content does not", "broken"),
    ("fork a writer's chain", lambda o: rewrite(o / TWO, end_otherwise), "another one: the chain was", "broken"),
    ("quote what was not seen", lambda o: rewrite(o / TWO, claim_to_have_seen_more), "and it is another one", "broken"),
    ("give a chain another name", lambda o: (o / TWO).rename(o / "writers/four"), "in the folder of 'four'", "broken"),
    ("put another writer's chain in its place", lambda o: shutil.copytree(o / THREE, o / TWO, dirs_exist_ok=True),
     "it is the chain of 'three'", "broken"),
    ("link a chain from elsewhere", link_elsewhere, "writers/two: it is not the folder of a writer's", "broken"),
    ("lock other predictions after the runs", lambda o: rewrite(o, lower_the_bar), "ledger.jsonl:4: writers/three", ""),
    ("cut the main tail and its witness", lambda o: cut(o, 3), "and the chain has 3: its tail was cut", ""),
    ("change what was taken over", lambda o: rewrite(o, claim_to_have_seen_more), "it is not a copy of writers/", ""),
    ("swap streams of two writers", swap_streams, "wide.s0/steps.jsonl:1: it does not quote this run", "broken"),
    ("two chains with one run", start_the_same_run, "run wide.s0 ", "as before"),
    ("a verdict in a writer's chain", judge_in_a_chain_of_runs, "a verdict belongs into ledger.jsonl", "as before"),
]  # fmt: skip


@pytest.mark.parametrize(("attack", "says", "then"), [a[1:] for a in ATTACKS], ids=[a[0] for a in ATTACKS])
def test_an_attack_on_a_chain_is_found_and_no_verdict_rests_on_it(
    shared: Path, tmp_path: Path, attack: Callable[[Path], object], says: str, then: str
) -> None:
    before = judge_folder(StudyFolder.open(shared), at=None)
    assert {verdict.grade for verdict in before} == {"sealed"}
    attack(shared)
    report = verify(shared)
    assert any(says in f"{problem.place}: {problem.what}" for problem in report.problems), report.problems
    own: dict[str, Any] = {}
    exec(compile(verifier_source(), "verify.py", "exec"), own)
    alone = own["verify"](shared)
    assert [(p.place, p.what) for p in alone.problems] == [(p.place, p.what) for p in report.problems]
    if not then:
        with pytest.raises(IntegrityError):
            StudyFolder.open(shared)
        return
    after = judge_folder(StudyFolder.open(shared), at=None)
    # Every prediction here is on the run of two.
    broken = [(verdict.word, verdict.grade) for verdict in after] == [("void", "broken")] * len(after)
    assert broken if then == "broken" else after == before


def test_what_no_other_chain_quotes_is_said_to_be_unproven(shared: Path) -> None:
    text = "\n".join(verify(shared).not_proven)
    assert f"{LEDGER}: no other chain quotes its last" in text
    assert "not all chains were cut back together" in text
    # What is said cannot be found is indeed not found: the closing verdicts, which nobody saw.
    cut(shared, -1)
    assert verify(shared).ok


def test_a_line_that_is_being_written_is_no_damage_to_the_judge_and_can_be_mended(shared: Path) -> None:
    before = judge_folder(StudyFolder.open(shared), at=None)
    whole = (shared / TWO / LEDGER).read_bytes()
    with (shared / TWO / LEDGER).open("ab") as handle:
        handle.write(b'{"body":{"about":')
    assert judge_folder(StudyFolder.open(shared), at=None) == before
    assert any("half-written" in problem.what for problem in verify(shared).problems)
    assert f"{TWO}{LEDGER}" in mend(shared)
    assert (shared / TWO / LEDGER).read_bytes().startswith(whole)
    assert verify(shared).ok
    take_over(shared, Ledger.open(shared))
    assert verify(shared).ok


# --- whose is a run


@given(st.text(max_size=70))
def test_a_writers_chain_lies_in_the_folder_whatever_its_name(name: str) -> None:
    out = Path("/nowhere/study")
    if RUN_NAME.fullmatch(name):
        assert chain_folder(out, name) in (out, out / "writers" / name)
    else:
        with pytest.raises(UsageError, match="is not the name of a writer"):
            chain_folder(out, name)


def test_of_many_who_claim_a_run_at_once_one_has_it(tmp_path: Path) -> None:
    gate, found = threading.Barrier(16), dict[int, str]()

    def reach(number: int) -> None:
        gate.wait()
        found[number] = claim(tmp_path, "r", f"w{number}")

    threads = [threading.Thread(target=reach, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    won = [number for number, whose in found.items() if whose == f"w{number}"]
    assert [f"w{number}" for number in won] == [owner(tmp_path, "r")]


def test_a_run_of_another_writer_is_refused_with_its_name_and_nothing_is_claimed(plan: Plan, tmp_path: Path) -> None:
    out = tmp_path / "out"
    register(plan, out)
    claim_all(out, ["wide.s0"], "two")
    with pytest.raises(OutputError, match=r"run wide\.s0 is claimed by two"):
        claim_all(out, ["thin.s0", "wide.s0"], "three")
    assert owner(out, "thin.s0") == ""
    with pytest.raises(OutputError, match="claimed by two"):
        RunWriter.create(out, "wide.s0", {}, Ledger.open(out))
    with pytest.raises(OutputError, match="claimed by two"):
        RunWriter.create(out, "wide.s0", {}, Ledger.open(out, writer="three"))


def test_two_chains_that_hold_one_run_are_not_taken_over(shared: Path) -> None:
    start_the_same_run(shared)
    before = (shared / LEDGER).read_bytes()
    with pytest.raises(IntegrityError, match=r"run wide\.s0 is in the chain of two already"):
        take_over(shared, Ledger.open(shared))
    # The genesis of the other chain is taken over: it happened.
    assert (shared / LEDGER).read_bytes().startswith(before)


REFUSED: list[tuple[Mapping[str, Any], type[Exception], str]] = [
    ({"writer": "../x", "arms": ["wide"]}, UsageError, "is not the name of a writer"),
    ({"writer": "main", "arms": ["wide"]}, UsageError, "trains the rest and judges"),
    ({"writer": "two", "arms": ["narrow"]}, UsageError, "has no arm 'narrow'"),
    ({"writer": "two", "arms": []}, UsageError, "--arms names none"),
]


@pytest.mark.parametrize(("choice", "error", "words"), REFUSED)
def test_what_cannot_join_is_refused_and_nothing_is_written(
    choice: dict[str, Any], error: type[Exception], words: str, plan: Plan, tmp_path: Path, notes: Any, contents: Any
) -> None:
    register(plan, tmp_path / "out")
    before = contents(tmp_path)
    with pytest.raises(error, match=words):
        join(tmp_path / "out", watch=notes, **choice)
    assert contents(tmp_path) == before


def test_nobody_joins_a_closed_study_or_runs_without_predictions(shared: Path, tmp_path: Path, notes: Any) -> None:
    with pytest.raises(OutputError, match="is closed"):
        join(shared, writer="four", arms=["wide"], watch=notes)
    Ledger.open(tmp_path / "single").append("note", {"about": "run", "run": {"run": "a"}})
    with pytest.raises(UsageError, match="runs without predictions"):
        join(tmp_path / "single", writer="four", arms=["wide"], watch=notes)


@pytest.mark.parametrize("kind", ["verdict", "anchor", "review"])
def test_a_writers_chain_takes_runs_alone(kind: Any, plan: Plan, tmp_path: Path) -> None:
    register(plan, tmp_path / "out")
    ledger = Ledger.open(tmp_path / "out", writer="two")
    with pytest.raises(UsageError, match="a writer's chain holds its runs"):
        ledger.append(kind, {})
    with pytest.raises(UsageError, match="a writer's chain holds its runs"):
        ledger.register([{"id": "X"}])
    assert len(ledger.entries()) == 1


# --- which came first, where two chains keep the order


def test_of_a_writers_run_a_later_claim_counts_what_was_sealed_after_the_writer_saw_it(tmp_path: Path) -> None:
    main = Ledger.open(tmp_path)
    early: dict[str, Json] = {"id": "early"}
    main.register([early])
    own = Ledger.open(tmp_path, writer="two")
    with RunWriter.create(tmp_path, "r", {}, own) as writer:
        writer.steps.append({"step": 1})
        writer.commit()
        main.register([{"id": "late"}])
        # Taken over after the lock, but sealed before the writer could know of it.
        take_over(tmp_path, main)
        assert grade(main.entries(), "r", "early") == "sealed"
        assert grade(main.entries(), "r", "late") == "late"
        assert watermark_of(main.entries(), "late", "r") is None
        writer.steps.append({"step": 2})
        writer.commit()
        writer.steps.append({"step": 3})
        writer.finish()
    take_over(tmp_path, main)
    assert watermark_of(main.entries(), "late", "r") == {"steps": 3, "reviews": 1}
    assert watermark_of(main.entries(), "early", "r") == {}
    assert verify(tmp_path).ok
    assert f"run r began before the predictions of {LEDGER}:3" in verify(tmp_path).not_proven
    assert os.listdir(tmp_path / "claims") == ["r"]
