"""Promises of reports with many runs: a row an arm, its numbers over seeds, and what no run knows stays unknown."""

import math
import statistics
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leonids.report import facts, sections
from leonids.report.findings import gather
from leonids.report.numbers import Missing, Value
from leonids.report.seeds import MANY_RUNS, over_seeds, rows_of
from leonids.study.folder import StudyFolder


@given(values=st.lists(st.floats(0, 10), min_size=2, max_size=8), unknown=st.integers(0, 3))
def test_the_interval_over_seeds_holds_their_mean_and_counts_those_that_are_known(
    values: list[float], unknown: int
) -> None:
    known = [Value(value, value - 1, value + 1, 500, "examples") for value in values]
    found = over_seeds([*known, *[Missing("not measured")] * unknown])
    assert isinstance(found, Value)
    assert (found.n, found.unit) == (len(values), "seeds")
    assert math.isclose(found.estimate, statistics.fmean(values), abs_tol=1e-9)
    if len(set(values)) > 1:
        assert found.low is not None
        assert found.high is not None
        assert found.low <= found.estimate <= found.high
    assert over_seeds([Missing("not measured")]) == Missing("not measured")
    assert over_seeds(known[:1]) == known[0]


@given(seeds=st.lists(st.integers(1, 5), min_size=1, max_size=30))
def test_rows_are_arms_only_where_runs_are_many_and_an_arm_has_several(seeds: list[int]) -> None:
    runs = [SimpleNamespace(run=f"{arm}.{seed}", arm=str(arm)) for arm, n in enumerate(seeds) for seed in range(n)]
    rows = rows_of(runs)
    assert [one for own in rows.values() for one in own] == runs
    assert len(rows) == (len(seeds) if len(runs) > MANY_RUNS else len(runs))


def test_a_report_of_many_runs_has_a_row_an_arm(whole: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    findings = gather(whole)
    arms = {run.arm for run in whole.runs}
    few = sections.checkpoint(findings, findings.checkpoints[-1])
    assert few.count("\n| ") - 2 == len(whole.runs)
    monkeypatch.setattr("leonids.report.seeds.MANY_RUNS", len(whole.runs) - 1)
    many = sections.checkpoint(findings, findings.checkpoints[-1])
    assert many.count("\n| ") - 2 == len(arms)
    assert all(f"| {arm}, 2 seeds |" in many for arm in arms)
    cards = sections.explained(findings).split("```text\n")[1].split("\n\n")
    assert [card.split()[1].split(".")[0] for card in cards] == list(dict.fromkeys(run.arm for run in whole.runs))
    assert facts.audit(findings).count("\n| ") - 2 == len(arms)
