import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from leonids.errors import MissingDependency, OutputError
from leonids.ledger.chain import Ledger
from leonids.ledger.verify import verify
from leonids.report.document import NO_FIGURES, write_report
from leonids.report.findings import gather, verdicts_of
from leonids.report.tables import verdict_lines
from leonids.study.folder import StudyFolder

HOSTILE = "<img src=x onerror=alert(1)> [TBD] <!-- leonids:end summary --> | `x` \u202e"


@pytest.fixture(scope="module")
def written(whole: StudyFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("written") / "out"
    shutil.copytree(whole.out, out)
    return write_report(out)


@pytest.fixture
def copy(written: Path, tmp_path: Path) -> Path:
    out = tmp_path / "copy"
    shutil.copytree(written.parent, out)
    return out


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "matplotlib")


def hide(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr("leonids.report.document.find_spec", lambda name: None if name in names else real(name))


def contents(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def block(text: str, name: str) -> str:
    return text.split(f"<!-- leonids:begin {name} -->\n")[1].split(f"<!-- leonids:end {name} -->")[0]


def test_the_same_data_give_the_same_bytes(written: Path, copy: Path) -> None:
    before = contents(copy)
    (copy / "report.md").unlink()
    shutil.rmtree(copy / "figures")
    write_report(copy)
    assert contents(copy) == before


def test_nothing_is_left_open(written: Path) -> None:
    text = written.read_text("utf-8")
    assert "[TBD]" not in text
    assert "not judged yet" not in text
    for prediction in ("P1", "P2", "P3", "P4"):
        assert re.search(rf"- \*\*{prediction}\*\* .* \*\*[✔✘◐∅] \w+\*\*", text)


def test_every_checkpoint_has_its_loss_match_phase_expectations_and_notes(written: Path, whole: StudyFolder) -> None:
    text = written.read_text("utf-8")
    for label in ("0", "15", "30", "60", "100"):
        part = block(text, f"checkpoint-{label}")
        header = next(line for line in part.splitlines() if line.startswith("| Run"))
        assert all(word in header for word in ("Loss", "Match %", "Phase"))
        assert all(f"| {run.run} |" in part for run in whole.runs)
        assert "**Expected:**" in part
        assert "**Notes:**" in part
    assert "**P4**" in block(text, "checkpoint-30")
    assert "n 80" in block(text, "checkpoint-100")


def test_every_figure_that_is_shown_is_there(written: Path) -> None:
    shown = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", written.read_text("utf-8"))
    names = {Path(path).stem for path in shown}
    assert names >= {"loss-over-floor", "match", "confidence", "arms", "phases", "graph", "predictions-1"}
    assert len(shown) == len(names)
    assert all((written.parent / path).is_file() for path in shown)


def test_the_folder_verifies_before_and_after(copy: Path, no_figures: None) -> None:
    assert verify(copy).ok
    write_report(copy)
    assert verify(copy).ok


def test_a_persons_words_are_kept_when_the_data_go_on(copy: Path, no_figures: None) -> None:
    report = copy / "report.md"
    text = report.read_text("utf-8")
    mine = text.replace(
        "<!-- leonids:end checkpoint-30 -->\n", "<!-- leonids:end checkpoint-30 -->\nI saw a bend. [TBD]\n"
    )
    report.write_text(f"# My own title\n\n{mine}", "utf-8")
    Ledger.open(copy).append("note", {"about": "something"})
    write_report(copy)
    after = report.read_text("utf-8")
    assert after.startswith("# My own title\n\n")
    assert "<!-- leonids:end checkpoint-30 -->\nI saw a bend. [TBD]\n" in after
    assert block(after, "integrity") != block(text, "integrity")
    assert block(after, "checkpoint-30") == block(text, "checkpoint-30")


@pytest.mark.parametrize("spoil", [b"<!-- leonids:begin summary -->\n", b"\xff\xfe"])
def test_a_report_that_cannot_be_kept_is_refused_before_anything_is_written(copy: Path, spoil: bytes) -> None:
    report = copy / "report.md"
    report.write_bytes(report.read_bytes() + spoil)
    shutil.rmtree(copy / "figures")
    before = contents(copy)
    with pytest.raises(OutputError, match=r"report\.md"):
        write_report(copy)
    assert contents(copy) == before


def test_without_matplotlib_the_report_says_that_figures_are_missing(copy: Path, no_figures: None) -> None:
    text = write_report(copy).read_text("utf-8")
    assert NO_FIGURES in text
    assert "figures/" not in text


def test_html_without_its_library_is_one_clear_error(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "markdown_it")
    with pytest.raises(MissingDependency, match=r"leonids\[report\]"):
        write_report(copy, html=True)


def test_an_unfinished_study_says_what_is_missing_and_what_comes_next(planted, no_figures: None) -> None:
    folder = planted(progress=0.3, examples=5)
    text = write_report(folder.out).read_text("utf-8")
    assert "step 12 / 40" in block(text, "summary")
    assert "| plain.s0 |" in block(text, "checkpoint-30")
    assert "no review yet: the run is at step 12, the review is at step 24" in block(text, "checkpoint-60")
    assert "after reaching 60 % training completion; due then: P3" in block(text, "next")
    assert "… not due" in block(text, "hypothesis-1")


def test_a_study_that_never_began_is_reported_as_such(planted, no_figures: None) -> None:
    folder = planted(progress=0.0, judged=False)
    text = write_report(folder.out).read_text("utf-8")
    assert "not measured yet" in block(text, "summary")
    assert "… not judged yet" in block(text, "hypothesis-1")


def test_hostile_names_are_text(planted, planted_study: str, no_figures: None) -> None:
    spoiled = planted_study
    for honest in (
        "What is a loss of 0.75 telling us?",
        "Rank does not matter.",
        "Match ends above 99 %.",
        "add seeds",
        "Does match reach 85-95 %?",
        "something is left",
        "Most of the loss is a fair draw of words.",
    ):
        assert honest in spoiled
        spoiled = spoiled.replace(honest, f"'{HOSTILE}'")
    spoiled = spoiled.replace("  rank:\n", f"  '{HOSTILE}':\n")
    folder = planted(text=spoiled, progress=0.15, examples=4)
    once = write_report(folder.out).read_text("utf-8")
    assert "<img" not in once
    assert "[TBD]" not in once
    assert once.count("onerror") >= 7
    assert write_report(folder.out).read_text("utf-8") == once


NASTY = (
    "<img src=x onerror=alert(1)>", '"><script>alert(1)</script>', "../../etc/passwd", "=cmd()",
    "a\u202eb\u2066c\u200f", "x" * 10_000, "\x1b[31mred\x1b[0m\x07",
)  # fmt: skip


def test_every_hostile_name_is_text_in_the_report_its_page_and_the_terminal(planted, planted_study: str) -> None:
    places = ("Rank does not matter.", "Match ends above 99 %.", "something is left", "one universe is enough")
    places = (*places, "Does match reach 85-95 %?", "Most of the loss is a fair draw of words.")
    places = (*places, "The flat loss is the prompt's own entropy, while match rises.")
    spoiled = planted_study
    for honest, nasty in zip(places, NASTY, strict=True):
        assert honest in spoiled
        spoiled = spoiled.replace(honest, json.dumps(nasty))
    folder = planted(text=spoiled, progress=0.15, examples=4)
    markdown = write_report(folder.out, html=True).read_text("utf-8")
    page = (folder.out / "report.html").read_text("utf-8")
    shown = "\n".join(verdict_lines(verdicts_of(folder), predictions=folder.study.predictions))
    for text in (markdown, page, shown):
        assert not any(mark in text for mark in ("\x1b", "\x07", "\u202e", "\u2066", "\u200f"))
        assert "<script>alert" not in text
        assert "<img src=x" not in text
    for text in (markdown, page):
        assert "etc/passwd" in text
        assert "=cmd()" in text
        assert "onerror=alert(1)" in text


def test_ten_renderings_keep_a_persons_words_and_the_same_bytes(copy: Path, no_figures: None) -> None:
    report = copy / "report.md"
    text = report.read_text("utf-8")
    end = "<!-- leonids:end questions -->\n"
    report.write_text(
        "Before.\r\n" + text.replace(end, f"{end}\n  Mine, with *stars* and [TBD].\n") + "\nAfter", "utf-8"
    )
    write_report(copy)
    first = report.read_bytes()
    for _ in range(9):
        write_report(copy)
        assert report.read_bytes() == first
    assert first.startswith(b"Before.\r\n")
    assert b"\n  Mine, with *stars* and [TBD].\n" in first
    assert first.endswith(b"\nAfter")


def test_the_verifier_beside_a_report_needs_python_alone(copy: Path) -> None:
    def run() -> subprocess.CompletedProcess[str]:
        # -I: neither this project nor anything in the environment can be imported.
        command = [sys.executable, "-I", "-S", "verify.py", "."]
        return subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)

    assert run().returncode == 0, run().stdout
    stream = copy / "plain.s0" / "steps.jsonl"
    stream.write_bytes(stream.read_bytes().replace(b'"step":3', b'"step":4', 1))
    assert run().returncode == 3


def test_what_was_changed_after_the_lock_stays_in_view(copy: Path, no_figures: None) -> None:
    ledger = Ledger.open(copy)
    ledger.withdraw("P3", reason="the margin was a slip")
    text = write_report(copy).read_text("utf-8")
    assert "- P3 version 1: withdrawn, the margin was a slip" in block(text, "integrity")


def test_a_verdict_that_changed_says_so(copy: Path, no_figures: None) -> None:
    folder = StudyFolder.open(copy)
    early = [{**verdict, "word": "inconclusive", "reason": "early"} for verdict in folder.verdicts]
    Ledger.open(copy).append("verdict", {"at": 0.3, "verdicts": early})
    text = write_report(copy).read_text("utf-8")
    assert "- P1: supported at the end, then inconclusive at 30 %" in block(text, "integrity")


def test_a_prediction_falls_due_at_the_first_review_after_its_window(whole: StudyFolder) -> None:
    due = {at.label: [prediction.id for prediction in at.due] for at in gather(whole).checkpoints}
    assert due == {"0 %": [], "15 %": [], "30 %": ["P4"], "60 %": ["P3"], "100 %": ["P1", "P2"]}
