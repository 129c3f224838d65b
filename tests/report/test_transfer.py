"""Promises about what is said of transfer: changes over the same items, and what the format alone explains."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leonids.claims.prediction import resolved
from leonids.gym.tasks import TASKS, UNKNOWN
from leonids.ledger.chain import Ledger
from leonids.ledger.runs import RunWriter
from leonids.report import facts
from leonids.report.explain import explain, lines
from leonids.report.findings import gather
from leonids.report.numbers import Missing, Value
from leonids.report.transfer import IS_CONTROL, control_of, moved
from leonids.spec import StudySpec, read_yaml, validate
from leonids.stats.intervals import Interval, paired_share_interval
from leonids.study.conduct import judge_folder
from leonids.study.folder import PLAN, StudyFolder
from leonids.study.plan import Choices, make_plan
from leonids.universe.splits import GYM

N = 36
STUDY = f"""
study: reach
title: Does it reach?
arms:
  own: {{universe: consistent, rank: 8}}
  other: {{universe: formats, rank: 8}}
  format: {{universe: consistent, rank: 8, answers: shuffled}}
  format-64: {{universe: consistent, rank: 64, answers: shuffled}}
seeds: [0]
reviews: [50%, 100%]
transfer: ["{GYM}"]
scales:
  nano: {{base: nano, steps: 4, batch_size: 2, lr: 0.001, review_examples: 4, test_examples: {N}}}
hypotheses:
  H:
    claim: What was learnt reaches further than its format.
    predictions:
      - id: H.1
        says: It beats the control.
        measure: {{metric: match, split: "{GYM}", arm: own, versus: format, seed: 0, at: 100%}}
        expect: {{above: 5%}}
        scope: run
"""


def observed(step: int, split: str, index: int, right: int, tags: dict[str, str]) -> dict[str, Any]:
    metrics = {"loss": {"decided": [1.0, 2]}, "match": {"example": [right, 1]}}
    line = {"kind": "observation", "step": step, "split": split, "index": index, "metrics": metrics}
    return {**line, "tags": tags, "answer": {"gold": ["7", "3"[: index % 3 // 2]], "roles": "s"}}


def plant(out: Path, rights: dict[str, tuple[list[int], list[int]]]) -> StudyFolder:
    """A finished study whose runs were right on these items of transfer:gym, before and after."""
    study = validate(StudySpec, read_yaml(STUDY, name="reach"), name="reach")
    plan = make_plan(study, Choices())
    ledger = Ledger.open(out)
    ledger.append("note", {"about": PLAN, "digest": plan.digest, **plan.to_json()})
    ledger.register([resolved(prediction) for prediction in plan.predictions])
    for run in plan.runs:
        sides = dict(zip((0, 4), rights.get(run.arm, ([0] * N, [0] * N)), strict=True))
        with RunWriter.create(out, run.run, {"spec": run.model_dump(mode="json")}, ledger) as writer:
            for step in (0, 4):
                if step:
                    for number in range(1, 5):
                        writer.steps.append({"kind": "step", "step": number, "split": "train", "wall_s": 0.1,
                                             "metrics": {"loss": {"decided": [1.0, 2]}}})  # fmt: skip
                for index in range(4):
                    writer.reviews.append(observed(step, "validation", index, 0, {}))
                for index, right in enumerate(sides[step]):
                    task = TASKS[index % len(TASKS)]
                    tags = {"task": task.name, "distance": task.distance}
                    writer.reviews.append(observed(step, GYM, index, right, tags))
                writer.reviews.append({"kind": "review", "step": step, "split": GYM, "n": N, "metrics": {},
                                       "audit": {"n": 4, "disagreements": 0, "match_stands": True,
                                                 "passed_over": {"asked before": 2}}})  # fmt: skip
            writer.finish()
    return StudyFolder.open(out)


def some(first: int, *, of: int = N) -> list[int]:
    return [int(index < first) for index in range(of)]


ANSWERS = st.lists(st.integers(0, 1), min_size=N, max_size=N)


@given(sides=st.tuples(ANSWERS, ANSWERS, ANSWERS))
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_changes_and_what_is_beyond_the_control_are_paired_by_item(
    sides: tuple[list[int], list[int], list[int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    before, after, control = sides
    folder = plant(tmp_path_factory.mktemp("reach"), {"own": (before, after), "format": (before, control)})
    run = next(one for one in folder.runs if one.arm == "own")
    whole, *parts = moved(folder, run)
    for part, found in (("", whole), *((one.part, one) for one in parts)):
        kept = [i for i in range(N) if part in ("", TASKS[i % len(TASKS)].distance)]
        a, b, c = (np.array([side[i] for i in kept], dtype=float) for side in (after, before, control))
        for got, pair in ((found.change, (a, b)), (found.beyond, (a, c)), (found.control_change, (c, b))):
            wanted = paired_share_interval(*pair, level=0.95)
            assert isinstance(got, Value)
            assert isinstance(wanted, Interval)
            assert (got.low, got.high, got.estimate, got.n) == (wanted.low, wanted.high, wanted.estimate, len(kept))
        # What the two changes differ by is what the two ends differ by: both began alike.
        assert isinstance(found.beyond, Value)
        assert isinstance(found.change, Value)
        assert isinstance(found.control_change, Value)
        assert found.beyond.estimate == pytest.approx(found.change.estimate - found.control_change.estimate)
    assert [one.part for one in parts] == ["near", "mid", "far"]


def test_what_one_answer_to_everything_would_match_is_said(tmp_path: Path) -> None:
    folder = plant(tmp_path, {"own": (some(0), some(2))})
    whole, *_ = moved(folder, folder.runs[0])
    answer, value = whole.commonest
    assert isinstance(value, Value)
    assert (answer, value.n, round(value.estimate * N)) == ("7", N, sum(index % 3 < 2 for index in range(N)))
    assert "always saying 7 matches 66.7 %" in "\n".join(lines(explain(folder, "own.s0")))


def test_a_control_has_the_universe_and_is_the_one_most_alike(tmp_path: Path) -> None:
    folder = plant(tmp_path, {})
    named = {run.arm: control_of(folder, run) for run in folder.runs}
    assert named["own"] is not None
    assert named["own"].arm == "format"
    assert (named["other"], named["format"], named["format-64"]) == (None, None, None)


def test_a_gain_that_the_format_explains_is_not_called_transfer(tmp_path: Path) -> None:
    folder = plant(tmp_path, {"own": (some(0), some(20)), "format": (some(0), some(20))})
    (verdict,) = judge_folder(folder, at=None)
    assert (verdict.word, verdict.estimate) == ("refuted", 0.0)
    said = next(line for line in lines(explain(folder, "own.s0")) if line.startswith(GYM))
    assert "0.0 % before, 55.6 % after, +55.6 (" in said
    assert "control format.s0 +55.6 (" in said
    assert "beyond it +0.0 (" in said


def test_a_gain_beyond_the_format_is_supported(tmp_path: Path) -> None:
    folder = plant(tmp_path, {"own": (some(0), some(30)), "format": (some(0), some(3))})
    (verdict,) = judge_folder(folder, at=None)
    assert (verdict.word, verdict.estimate) == ("supported", 0.75)


def test_the_floor_of_foreign_tasks_is_unknown_wherever_it_would_be_shown(tmp_path: Path) -> None:
    folder = plant(tmp_path, {"own": (some(1), some(2))})
    said = next(line for line in lines(explain(folder, "own.s0")) if line.startswith(GYM))
    section = facts.transfer(gather(folder))
    for text in (said, section):
        assert UNKNOWN in text
        assert "2 drawn items passed over (asked before 2)" in text
    assert "unknown: no control" in section
    assert section.count("| it is one | none: the format alone |") == 2 * 4
    assert IS_CONTROL in next(line for line in lines(explain(folder, "format.s0")) if line.startswith(GYM))
    assert "an arm with answers: shuffled" in next(
        line for line in lines(explain(folder, "other.s0")) if line.startswith(GYM)
    )


def test_what_was_not_measured_is_missing(tmp_path: Path) -> None:
    folder = plant(tmp_path, {"own": ([], some(2))})
    whole = moved(folder, folder.runs[0])[0]
    assert isinstance(whole.before, Missing)
    assert isinstance(whole.change, Missing)
    assert isinstance(whole.after, Value)
