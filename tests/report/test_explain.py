import json
import math
import re
from dataclasses import asdict, replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from leonids.cli import app
from leonids.errors import UsageError
from leonids.records import ANSWER_ROLES, ROLES
from leonids.report.anatomy import SHORT, Anatomy, Part, anatomy, in_short
from leonids.report.explain import alarms, explain, lines, located
from leonids.report.numbers import Missing, Value
from leonids.study.folder import StudyFolder
from leonids.study.streams import Table, table_of

NUMBER = re.compile(r"-?\d+\.\d{3}")


def sum_of(line: str) -> tuple[Decimal, list[Decimal]]:
    """The left side of ``a = b x + c y - d z (...)`` and the signed addends of the right side."""
    left, right = line.split(" (")[0].split(" = ")
    signed = re.findall(r"(^|\+ |- )(-?\d+\.\d{3})", right)
    return Decimal(NUMBER.findall(left)[-1]), [Decimal(("-" if sign == "- " else "") + text) for sign, text in signed]


def test_every_printed_sum_adds_up(whole: StudyFolder) -> None:
    sums = [line for run in whole.runs for line in lines(explain(whole, run.run)) if " = " in line]
    assert len(sums) == len(whole.runs) + 2
    for line in sums:
        total, addends = sum_of(line)
        assert sum(addends) == total, line


def test_the_excess_of_the_answer_is_printed_as_the_sum_of_its_roles(whole: StudyFolder) -> None:
    for run in whole.runs:
        line = next(line for line in lines(explain(whole, run.run)) if line.startswith("answer loss"))
        roles = re.findall(r"(?:structure|copied|decided|end) (-?\d+\.\d{3})", line)
        assert len(roles) == len(ANSWER_ROLES)
        assert sum(map(Decimal, roles)) == sum_of(line)[1][-1], line


ROWS = st.lists(
    st.fixed_dictionaries({role: st.tuples(st.floats(0, 9), st.floats(0, 9), st.integers(1, 5)) for role in ROLES}),
    min_size=2,
    max_size=6,
)


@given(rows=ROWS, tokens=st.sampled_from(["all", "answer"]))
def test_floors_head_and_excess_add_up_to_the_loss_on_any_data(whole: StudyFolder, rows: list, tokens: str) -> None:
    found = anatomy(table(rows), floors=whole.floors["whole"], tokens=tokens)
    assert isinstance(found, Anatomy)
    total = math.fsum(part.value.estimate for part in found.parts)
    assert math.isclose(total, found.loss.estimate, abs_tol=1e-9)
    assert found.excess is not None
    assert math.isclose(math.fsum(role.value.estimate for role in found.roles), found.excess.estimate, abs_tol=1e-9)


def table(rows: list) -> Table:
    return table_of(
        [
            {
                "step": 1,
                "index": index,
                "metrics": {
                    "loss": {role: [loss, n] for role, (loss, _, n) in row.items()},
                    "floor": {role: [floor, n] for role, (_, floor, n) in row.items()},
                },
            }
            for index, row in enumerate(rows)
        ]
    )


def test_the_head_is_taken_from_the_answer_alone_and_by_role(whole: StudyFolder) -> None:
    found = explain(whole, "whole.s0")
    assert isinstance(found.all, Anatomy)
    assert isinstance(found.answer, Anatomy)
    # 0.01 nats on each of 3 decided tokens, of 43 tokens in all and of 13 in the answer.
    heads = [
        next(part.value.estimate for part in one.parts if part.name.startswith("head"))
        for one in (found.all, found.answer)
    ]
    assert heads == pytest.approx([0.01 * 3 / 43, 0.01 * 3 / 13])


def test_examples_whose_loss_is_not_a_number_are_left_out_in_pairs_and_counted(whole: StudyFolder) -> None:
    rows = table([dict.fromkeys(ROLES, (2.0, 1.0, 2))] * 4)
    broken = rows.counts["loss", "decided"].copy()
    broken[0] = 0
    spoiled = Table(rows.steps, rows.keys, rows.totals, {**rows.counts, ("loss", "decided"): broken})
    found = anatomy(spoiled, floors=whole.floors["plain"], tokens="answer")
    assert isinstance(found, Anatomy)
    assert (found.left_out, found.loss.n) == (1, 3)
    assert found.loss.estimate == pytest.approx(1.0)


def test_match_has_its_exact_interval_and_its_n(whole: StudyFolder) -> None:
    from scipy.stats import binomtest

    for run in whole.runs:
        match = explain(whole, run.run).match
        assert isinstance(match, Value)
        exact = binomtest(round(match.estimate * match.n), match.n).proportion_ci(0.95, method="exact")
        assert (match.low, match.high) == pytest.approx((exact.low, exact.high), abs=1e-9)
        assert match.n == 80


def test_every_number_of_an_explanation_has_an_n_and_is_json(whole: StudyFolder) -> None:
    def check(value: object) -> None:
        if isinstance(value, dict):
            if "estimate" in value:
                assert value["n"] > 0
                assert value["unit"]
            for inner in value.values():
                check(inner)
        elif isinstance(value, list | tuple):
            for inner in value:
                check(inner)

    for run in whole.runs:
        found = asdict(explain(whole, run.run))
        json.dumps(found, allow_nan=False)
        check(found)


def test_what_was_not_measured_is_absent_with_a_reason(whole: StudyFolder, planted) -> None:
    assert isinstance(explain(whole, "plain.s0").all, Missing)
    before = planted(progress=0.0, judged=False)
    found = explain(before, "plain.s0")
    assert (found.step, found.n) == (None, 0)
    assert isinstance(found.match, Missing)
    assert lines(found) == ["run plain.s0: no review yet: the run is at step 0, the review is at step 0"]


def test_an_unknown_head_stays_in_the_excess_and_says_so(planted) -> None:
    folder = planted(head_reason="its head has a bias", examples=5)
    found = explain(folder, "plain.s0")
    assert isinstance(found.answer, Anatomy)
    assert [part.name for part in found.answer.parts] == ["data floor", "excess"]
    assert any("its head has a bias" in line for line in lines(found))


def test_bounds_hold_and_belong_to_universes_with_one_answer(whole: StudyFolder) -> None:
    for run in whole.runs:
        found = explain(whole, run.run)
        if run.arm == "mixed":
            assert isinstance(found.bounds, Missing)
        else:
            assert not isinstance(found.bounds, Missing)
            assert isinstance(found.match, Value)
            assert isinstance(found.match.high, float)
            assert found.bounds.greedy <= found.match.high


def test_a_bound_that_says_nothing_is_not_printed_as_zero(whole: StudyFolder) -> None:
    found = explain(whole, "plain.s0", step=0)
    assert not isinstance(found.bounds, Missing)
    assert found.bounds.greedy == 0.0
    assert any("nothing is sure of greedy match" in line for line in lines(found))


def test_a_run_that_is_not_planned_is_refused_by_name(whole: StudyFolder) -> None:
    with pytest.raises(UsageError, match=r"no run 'other'.*plain\.s0"):
        explain(whole, "other")


def test_a_loss_below_its_floor_raises_an_alarm(whole: StudyFolder) -> None:
    rng = np.random.default_rng(0)
    rows = table([{role: (1.0 + 0.1 * rng.random(), 1.4, 2) for role in ROLES} for _ in range(50)])
    found = explain(whole, "whole.s0")
    assert alarms(found) == []
    below = replace(found, answer=anatomy(rows, floors=whole.floors["whole"], tokens="answer"))
    assert alarms(below)[0].startswith("ALARM: the loss on answer tokens is below its floor")


def test_explaining_reads_and_writes_nothing(whole: StudyFolder) -> None:
    before = {path: path.stat().st_mtime_ns for path in Path(whole.out).rglob("*")}
    for run in whole.runs:
        lines(explain(whole, run.run))
    assert {path: path.stat().st_mtime_ns for path in Path(whole.out).rglob("*")} == before


def test_an_explanation_begins_in_plain_words_and_says_ladder_and_calibration(whole: StudyFolder) -> None:
    for run in whole.runs:
        found = explain(whole, run.run)
        text = lines(found)
        assert text[1].startswith("in short: ")
        assert "% of this loss is a floor that training cannot lower" in text[1]
        assert any(re.fullmatch(r"on the ladder: .*, at .* nats an example .*; who knows only the format 5\.00, .*", t)
                   for t in text)  # fmt: skip
        (honest,) = (line for line in text if line.startswith("calibration error "))
        assert f"by chance alone (the first decided token of {found.n} answers)" in honest
    (whole_loss,) = (lines(explain(whole, run.run))[1] for run in whole.runs if run.run == "whole.s0")
    assert "mask the prompt, or read the answer loss" in whole_loss


def test_a_run_is_explained_by_its_folder_or_any_file_in_it(whole: StudyFolder, tmp_path: Path) -> None:
    out = whole.out
    assert located(out) == (out, "")
    for inside in (out / "plain.s0", out / "plain.s0" / "steps.jsonl", out / "plain.s0" / "reviews.jsonl"):
        assert located(inside) == (out.resolve(), "plain.s0")
        said = CliRunner().invoke(app, ["explain", str(inside), "--json"])
        assert [one["run"] for one in json.loads(said.stdout)] == ["plain.s0"]
    for whole_study in (out, out / "ledger.jsonl"):
        said = CliRunner().invoke(app, ["explain", str(whole_study), "--json"])
        assert [one["run"] for one in json.loads(said.stdout)] == [run.run for run in whole.runs]
    foreign = tmp_path / "data.jsonl"
    foreign.write_text("{}", "utf-8")
    for other, problem in ((foreign, "lies in no study"), (tmp_path / "gone", "does not exist")):
        with pytest.raises(UsageError, match=rf"{problem}.*leonids audit FILE.jsonl.*LeonidsCallback"):
            located(other)


def test_data_that_are_not_ours_say_what_cannot_be_known_and_what_to_do(whole: StudyFolder) -> None:
    for run, says in (("whole.s0", True), ("plain.s0", False)):
        text = "\n".join(lines(replace(explain(whole, run), foreign=True)))
        assert "how much of this loss training can remove is not known" in text
        assert "`leonids audit FILE.jsonl`" in text
        assert ("mask the prompt, so that" in text) == says
        assert "is a floor that training cannot lower" not in text


def test_one_runs_explanation_has_its_match_by_case(whole: StudyFolder) -> None:
    run = whole.runs[0].run
    found = explain(whole, run)
    assert not isinstance(found.match, Missing)
    assert found.match.n == sum(case.n for case in found.cases if case.tag == "depth") > 0
    shown = CliRunner().invoke(app, ["explain", str(whole.out / run)])
    assert "match by case" in shown.output
    everything = CliRunner().invoke(app, ["explain", str(whole.out)])
    assert "match by case" not in everything.output


@pytest.mark.parametrize(
    ("floor", "says"),
    [(0.0, "all of this loss can still be learnt, none of it is a floor; 100 % of what is left to learn is on decided"),
     (0.25, "25 % of this loss is a floor that training cannot lower; 100 % of what is left"),
     (1.0, "this loss has come down to its floor, and training cannot lower it further")],
)  # fmt: skip
def test_the_sentence_to_take_away_says_what_can_still_be_learnt(floor: float, says: str) -> None:
    def value(nats: float) -> Value:
        return Value(nats, None, None, 9, "examples")

    parts = (Part("data floor", value(floor)), Part("excess", value(1 - floor)))
    found = in_short(Anatomy("answer", value(1.0), parts, (Part("decided", value(1 - floor)),)))
    assert found[0].startswith(f"{SHORT}{says}")
    assert floor < 1 or found == [f"{SHORT}{says}"]
