import io

import pytest
from rich.console import Console

from leonids.records import Verdict
from leonids.report.claimed import ICONS
from leonids.report.explain import explain
from leonids.report.findings import verdicts_of
from leonids.report.run_rows import run_rows
from leonids.report.tables import print_verdicts, rows_of, verdict_lines
from leonids.study.folder import StudyFolder

HOSTILE = "P\x1b[31m[bold]1\r\n\u202e"


def verdict(word: str, name: str = "P1") -> Verdict:
    return Verdict(name, word, "why " + name, 0.5, 0.4, 0.6, 0.9, 9, "seeds", "seeds", "sealed", "2 more", "30%")  # type: ignore[arg-type]


def printed(verdicts: list[Verdict], *, terminal: bool) -> str:
    stream = io.StringIO()
    print_verdicts(verdicts, console=Console(file=stream, force_terminal=terminal, width=160, highlight=False))
    return stream.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("word", sorted(ICONS))
def test_a_verdict_is_shown_by_icon_and_word(word: str, terminal: bool) -> None:
    text = printed([verdict(word)], terminal=terminal)
    assert ICONS[word] in text  # type: ignore[index]
    assert word.replace("_", " ") in text


def test_without_a_terminal_there_is_one_plain_line_a_verdict() -> None:
    many = [verdict("refuted", f"P{number}") for number in range(5)]
    lines = printed(many, terminal=False).splitlines()
    assert lines == verdict_lines(many)
    assert "\x1b" not in "".join(lines)


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in printed([verdict("refuted")], terminal=True)
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[3" in printed([verdict("refuted")], terminal=True)


@pytest.mark.parametrize("terminal", [True, False])
def test_names_cannot_command_the_terminal(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    text = printed([verdict("void", HOSTILE)], terminal=terminal)
    assert "\x1b[31m" not in text
    assert "\\x1b[31m" in text
    assert "\u202e" not in text
    assert "[bold]" in text


def test_rows_carry_the_unit_of_the_metric_where_the_prediction_is_known(whole: StudyFolder) -> None:
    rows = {row.prediction: row for row in rows_of(verdicts_of(whole), predictions=whole.study.predictions)}
    assert list(rows) == ["P1", "P2", "P3", "P4"]
    assert "nats/token" in rows["P1"].found
    assert "%" in rows["P2"].found.split(" (")[0]
    assert rows_of([verdict("void")])[0].why == "why P1; would decide: 2 more"


def test_every_run_has_its_row(whole: StudyFolder) -> None:
    rows = run_rows([explain(whole, run.run) for run in whole.runs])
    assert [row[0] for row in rows] == [run.run for run in whole.runs]
    assert all("-" not in row[4].split(" (")[0] for row in rows)
