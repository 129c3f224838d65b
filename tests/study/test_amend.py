"""What can be done to a prediction after the lock, and what that leaves visible."""

from pathlib import Path
from typing import Any

import pytest

from leonids.errors import LateError, SpecError, UsageError
from leonids.ledger.verify import verify
from leonids.study.amend import amend, withdraw
from leonids.study.conduct import conduct, judge_folder, register
from leonids.study.folder import StudyFolder
from leonids.study.plan import Plan

CLAIM = """\
id: {id}
says: The loss ends low.
measure: {{metric: loss, tokens: answer, split: validation, arm: {arm}, seed: 0, final: true}}
expect: {{below: {below}}}
scope: run
needs: [{needs}]
"""


@pytest.fixture
def claim(tmp_path: Path) -> Any:
    def write(id: str = "H1.2", *, arm: str = "wide", below: float = 3.0, needs: str = "") -> Path:
        path = tmp_path / "claim.yaml"
        path.write_text(CLAIM.format(id=id, arm=arm, below=below, needs=needs))
        return path

    return write


def judged(out: Path) -> dict[str, Any]:
    return {verdict.prediction: verdict for verdict in judge_folder(StudyFolder.open(out), at=None)}


def test_both_versions_of_an_amended_prediction_are_judged(
    plan: Plan, tmp_path: Path, claim: Any, train: Any, notes: Any
) -> None:
    train()
    out = tmp_path / "out"
    register(plan, out)
    before = StudyFolder.open(out).hypotheses["H1"]
    assert amend(out, claim(), reason="the first number was a slip")[1] == "H1.2.v2"
    conduct(plan, out, resume=True, watch=notes)
    found = judged(out)
    assert {found[name].grade for name in ("H1.2", "H1.2.v2")} == {"sealed"}
    assert found["H1.2.v2"].word != "void"
    assert StudyFolder.open(out).hypotheses["H1"] == before
    assert verify(out).ok


def test_a_prediction_made_after_the_data_is_a_retrodiction_and_changes_no_other_verdict(
    plan: Plan, tmp_path: Path, claim: Any, train: Any, notes: Any
) -> None:
    train()
    out = tmp_path / "out"
    conduct(plan, out, resume=False, watch=notes)
    before = judged(out)
    entry, _ = amend(out, claim("late-one"), reason="seen in the plots")
    assert entry.body["reason"] == "seen in the plots"
    assert "seen in the plots" in StudyFolder.open(out).hypotheses[f"later-{entry.count}"].claim
    after = judged(out)
    assert after.pop("late-one").grade == "late"
    assert after == before


def test_a_withdrawn_prediction_is_void_with_its_reason_and_a_judged_one_stays(
    plan: Plan, tmp_path: Path, train: Any, notes: Any
) -> None:
    train()
    out = tmp_path / "out"
    register(plan, out)
    withdraw(out, "H1.4", reason="asked twice")
    conduct(plan, out, resume=True, watch=notes)
    found = judged(out)
    assert (found["H1.4"].word, found["H1.4"].reason) == ("void", "withdrawn: asked twice")
    with pytest.raises(LateError, match="was judged"):
        withdraw(out, "H1.1", reason="it did not go well")


def test_a_claim_that_does_not_fit_the_study_is_refused_and_nothing_is_written(
    plan: Plan, tmp_path: Path, claim: Any
) -> None:
    out = tmp_path / "out"
    register(plan, out)
    before = (out / "ledger.jsonl").read_bytes()
    with pytest.raises(UsageError, match="arms are thin, wide"):
        amend(out, claim(arm="tall"), reason="r")
    with pytest.raises(SpecError, match="needs 'H9'"):
        amend(out, claim(needs="H9"), reason="r")
    for name in ("H1.2", "one-more"):
        with pytest.raises(UsageError, match="no reason"):
            amend(out, claim(name), reason=" ")
    assert (out / "ledger.jsonl").read_bytes() == before
