import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from leonids.claims.prediction import resolved
from leonids.errors import UsageError
from leonids.ledger.chain import Ledger
from leonids.ledger.exports import FORMS, to_preregister, to_prml
from leonids.report.outside import export_lines
from leonids.spec import find_study, load_study
from leonids.study.plan import Choices, make_plan


@pytest.fixture(scope="module")
def plan():
    path = find_study("consistent-universe")
    return make_plan(load_study(path), Choices(), beside=path.parent)


@pytest.fixture
def locked(plan, tmp_path) -> Ledger:
    ledger = Ledger.open(tmp_path / "out")
    ledger.append("note", {"about": "plan", **plan.to_json()})
    ledger.register([resolved(prediction) for prediction in plan.predictions])
    return ledger


def test_every_prediction_is_exported_or_left_out_with_a_reason(locked, plan):
    ids = {prediction.id for prediction in plan.predictions}
    study = to_preregister(locked.entries())
    listed = {p["id"] for p in json.loads(study.files["prereg.yaml"])["predictions"]}
    assert listed | set(study.left_out) == ids
    assert not listed & set(study.left_out)
    manifests = to_prml(locked.entries())
    names = {re.sub(r"(\.low|\.high)?\.prml\.json$", "", name) for name in manifests.files}
    assert names | set(manifests.left_out) == ids
    assert all(reason for reason in (*study.left_out.values(), *manifests.left_out.values()))


def test_no_claim_becomes_a_weaker_one(locked, plan):
    rows = {p["id"]: p for p in json.loads(to_preregister(locked.entries()).files["prereg.yaml"])["predictions"]}
    for prediction in plan.predictions:
        if prediction.id not in rows:
            continue
        written = {
            abs(float(number)) for number in re.findall(r"[-+]?\d+\.\d+(?:e-?\d+)?", rows[prediction.id]["comparison"])
        }
        claimed = {abs(number) for number in prediction.expect.numbers}
        assert written == (claimed if prediction.expect.falls_after is None else {prediction.expect.falls_after.by})
        assert rows[prediction.id]["analysis"]["seeds"] == [0, 1, 2, 3, 4]
        assert rows[prediction.id]["analysis"]["test"] == "welch"


@pytest.mark.parametrize(("form", "make"), FORMS)
def test_a_study_on_data_that_leo_did_not_make_is_exported_too(plan, tmp_path, form, make):
    ledger = Ledger.open(tmp_path / form)
    runs = [{**run, "universe": None} for run in plan.to_json()["runs"]]
    ledger.append("note", {"about": "plan", **plan.to_json(), "runs": runs})
    ledger.register([resolved(prediction) for prediction in plan.predictions])
    exported = make(ledger.entries())
    assert exported.files
    if form == "prml":
        assert {json.loads(text)["dataset"]["id"] for text in exported.files.values()} == {"foreign"}


def test_a_withdrawn_prediction_is_not_exported(locked):
    locked.withdraw("H2.early", reason="changed my mind")
    for _, make in FORMS:
        exported = make(locked.entries())
        assert "H2.early" not in exported.left_out
        assert not any(b"H2.early" in content or "H2.early" in name for name, content in exported.files.items())


def test_the_same_ledger_gives_the_same_bytes(locked):
    for _, make in FORMS:
        assert make(locked.entries()) == make(locked.entries())


def test_an_unknown_format_and_a_ledger_without_a_plan_are_refused(locked, tmp_path):
    with pytest.raises(UsageError, match="one of preregister, prml"):
        export_lines(locked.folder, form="osf", to=tmp_path / "to")
    with pytest.raises(UsageError, match="holds no plan"):
        to_prml(Ledger.open(tmp_path / "bare").entries())
    assert not (tmp_path / "to").exists()


@pytest.mark.slow
def test_preregister_itself_registers_and_verifies_what_is_exported(locked, tmp_path):
    to = tmp_path / "to"
    export_lines(locked.folder, form="preregister", to=to)
    for command in ("init", "register", "verify"):
        done = subprocess.run([program("preregister"), command], cwd=to, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_falsify_itself_locks_and_judges_what_is_exported(locked, tmp_path):
    to = tmp_path / "to"
    export_lines(locked.folder, form="prml", to=to)
    for name in [path.name for path in sorted(to.iterdir())]:
        subprocess.run([program("falsify"), "lock", name], cwd=to, capture_output=True, check=True)
        manifest = json.loads((to / name).read_bytes())
        up = manifest["comparator"][0] == ">"
        for step, code in ((1.0, 0 if up else 10), (-1.0, 10 if up else 0)):
            seen = str(manifest["threshold"] + step)
            command = [program("falsify"), "verify", name, f"--observed={seen}"]
            assert subprocess.run(command, cwd=to, capture_output=True, check=False).returncode == code
        (to / name).write_text(json.dumps({**manifest, "threshold": manifest["threshold"] + 0.5}))
        command = [program("falsify"), "verify", name]
        assert subprocess.run(command, cwd=to, capture_output=True, check=False).returncode == 3


def program(name):
    return Path(sys.executable).with_name(name)
