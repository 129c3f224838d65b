"""What a terminal shows of runs: a line an arm that fits, what falls due next; without a terminal, news alone."""

import io
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from leonids.report import live
from leonids.report.live import COLUMNS, Terminal, arm_line, arms_of, next_lines, progress_table
from leonids.spec import StudySpec, read_yaml, validate
from leonids.study.progress import RunProgress


def run_at(step: int, *, arm: str = "plain", seed: int = 0, **figures: Any) -> RunProgress:
    known = {"step_s": 0.5, "tokens_s": 100.0, "loss_nats": 0.75, "floor_nats": 0.25, "head_nats": 0.125}
    return RunProgress(
        **{"run": f"{arm}.s{seed}", "arm": arm, "step": step, "steps": 600, "match_frac": None, **known, **figures}
    )


def many(step: int = 120, *, arms: int = 15, seeds: int = 5) -> list[RunProgress]:
    return [run_at(step, arm=f"an-arm-of-some-length-{arm}", seed=seed) for arm in range(arms) for seed in range(seeds)]


def printed(runs: list[RunProgress], *, width: int, height: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(progress_table(arms_of(runs), width=width, height=height))
    return str(console.file.getvalue()).splitlines()  # type: ignore[attr-defined]


@given(st.integers(20, 200), st.integers(3, 60), st.integers(1, 40), st.integers(1, 5), st.integers(0, 600))
def test_the_table_fits_the_terminal_whatever_is_shown(
    width: int, height: int, arms: int, seeds: int, step: int
) -> None:
    lines = printed(many(step, arms=arms, seeds=seeds), width=width, height=height)
    assert len(lines) <= height
    assert all(cell_len(line) <= width for line in lines)
    assert len(lines) == min(arms + 1, height)
    if arms + 1 > height:
        assert lines[-1].startswith("and ")


def test_a_wide_terminal_has_every_column_and_a_narrow_one_those_that_matter_most() -> None:
    heads = printed(many(), width=100, height=24)[0].split()
    assert heads == [head for head, _, _ in COLUMNS] == ["arm", "step", "loss", "floor", "excess", "match", "tokens/s",
                                                         "left"]  # fmt: skip
    assert printed([run_at(120)], width=28, height=24)[0].split() == ["arm", "step", "loss", "match"]


def test_an_arms_figures_are_means_of_its_runs_and_its_loss_adds_up() -> None:
    [arm] = arms_of([run_at(100), run_at(200, seed=1, loss_nats=1.25), run_at(0, seed=2, **dict.fromkeys(
        ("step_s", "tokens_s", "loss_nats", "floor_nats", "head_nats")))])  # fmt: skip
    assert arm.tokens_s == 200.0
    assert arm.left_s == 0.5 * 500
    assert arm_line(arm) == (
        "plain: step 0-200/600, answer loss 1.000 = 0.375 floor + 0.625 excess, 200 tokens/s, 4 min left"
    )


def test_arms_that_are_being_trained_are_the_last_to_leave_the_screen() -> None:
    runs = [run_at(600, arm=f"done-{n}") for n in range(9)] + [run_at(5, arm="at-work"), run_at(0, arm="to-come")]
    lines = printed(runs, width=80, height=4)
    assert [line.split()[0] for line in lines[1:3]] == ["at-work", "to-come"]
    assert lines[3].rstrip() == "and 9 arms more"


def test_what_falls_due_next_is_of_the_first_review_that_a_run_has_not_passed(planted_study: str) -> None:
    study = validate(StudySpec, read_yaml(planted_study, name="study"), name="study")
    assert next_lines(study, [run_at(0), run_at(90)]) == ["next review: 15 %, 1 of 2 runs to go", "due then: nothing"]
    assert next_lines(study, [run_at(90), run_at(180)])[1] == "due then: P4"
    assert next_lines(study, [run_at(599)])[1] == "due then: P1, P2"
    assert next_lines(study, [run_at(600)]) == ["every run has passed its last review"]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    now = [1000.0]
    # Its own clock: were everyone's set back, a server in another thread would sleep for hours.
    monkeypatch.setattr(live, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def wait(seconds: float) -> None:
        now[0] += seconds

    return wait


def test_without_a_terminal_a_study_of_75_runs_says_news_alone(
    clock: Callable[[float], None], capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    with Terminal() as terminal:
        for step in [0] * 40 + list(range(0, 601, 2)):
            clock(15.0)
            terminal.moved(many(step))
            said.append(capsys.readouterr().err.splitlines())
    waiting, training = said[:40], [line for lines in said[40:] for line in lines]
    # Ten minutes of measuring the base: a sign of life a minute.
    assert [len(lines) for lines in waiting] == [0, 0, 0, 1] * 10
    assert waiting[3] == ["at work: 0.0 % of all steps, 0 of 75 runs done"]
    assert len([line for line in training if "step" in line and "at work" not in line]) == 15 * 10
    assert len(training) < 15 * 10 + 301 / 4


def test_names_cannot_command_the_terminal(capsys: pytest.CaptureFixture[str], clock: Callable[[float], None]) -> None:
    hostile = "\x1b[31m\u202e" + "x" * 10_000
    with Terminal() as terminal:
        clock(15.0)
        terminal.moved([run_at(300, arm=hostile)])
    said = capsys.readouterr().err
    assert "\\x1b[31m\\u202e" in said
    assert len(said) < 200
    assert all(line.isprintable() for line in said.splitlines())
    assert all(line.isprintable() for line in printed([run_at(300, arm=hostile)], width=80, height=24))
