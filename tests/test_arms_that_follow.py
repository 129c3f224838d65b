"""Arms that start from another arm's adapter, and arms that train every weight, through the command line."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leonids.errors import SpecError, UsageError
from leonids.ledger.chain import Ledger
from leonids.spec import load_study
from leonids.study.plan import Choices, make_plan

Start = Callable[..., "subprocess.Popen[str]"]
Finish = Callable[["subprocess.Popen[str]"], tuple[int, str, str]]

STUDY = """\
study: follow
title: After training, a lower rank
arms:
  again: {{rank: 1, alpha_rule: equal, start_from: wide, lr_factor: 0.5, warmup_steps: 2}}
  whole: {{method: full, lr_factor: 0.1}}
  wide: {{rank: 4, alpha_rule: equal}}
seeds: [0]
reviews: [50%, 100%]
scales:
  nano: {{base: {base}, steps: 12, batch_size: 2, lr: 0.02, review_examples: 6, test_examples: 6, checkpoint_every: 4}}
hypotheses:
  H:
    claim: What was learnt stays.
    predictions:
      - id: H.1
        says: The lower rank ends no worse than where it began.
        measure: {{metric: loss, tokens: answer, split: validation, arm: again, versus: wide, seed: 0, final: true}}
        expect: {{below: 0.5}}
        scope: run
      - id: H.2
        says: Training every weight lowers the loss.
        measure: {{metric: loss, tokens: answer, split: validation, arm: whole, seed: 0, final: true}}
        expect: {{below: 5.4}}
        scope: run
"""


@pytest.fixture(scope="module")
def study_file(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    path = tmp_path_factory.mktemp("follow") / "study.yaml"
    path.write_text(STUDY.format(base=tiny_base))
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, study_file: Path, start: Start, finish: Finish) -> Path:
    out = tmp_path_factory.mktemp("finished") / "out"
    code, _, err = finish(start("run", study_file, "--out", out))
    assert code == 0, err
    return out


def losses(out: Path, run: str) -> dict[int, float]:
    found: dict[int, list[float]] = {}
    for text in (out / run / "reviews.jsonl").read_text().splitlines():
        line = json.loads(text)
        if line.get("kind") == "observation" and line["split"] == "validation":
            found.setdefault(line["step"], []).append(line["metrics"]["loss"]["end"][0])
    return {step: sum(values) / len(values) for step, values in found.items()}


def test_an_arm_begins_after_the_one_it_starts_from_has_ended(finished: Path) -> None:
    entries = Ledger.open(finished).entries()
    at = {(entry.type, entry.body.get("run")): entry.seq for entry in entries}
    assert at["run_end", "wide.s0"] < at["data_start", "again.s0"]
    manifest = json.loads((finished / "again.s0" / "manifest.json").read_text())
    assert len(manifest["start_digest"]) == 64


def test_a_following_arm_begins_with_what_was_learnt_and_a_full_one_learns(finished: Path) -> None:
    wide, again, whole = (losses(finished, f"{arm}.s0") for arm in ("wide", "again", "whole"))
    assert again[0] < (wide[0] + wide[12]) / 2
    assert whole[12] < whole[0]
    assert (finished / "whole.s0" / "model" / "model.safetensors").is_file()


def test_a_trained_head_has_no_floor_and_a_full_arm_no_rank(finished: Path) -> None:
    notes = [e.body for e in Ledger.open(finished).entries() if e.type == "note" and "arms" in e.body]
    (arms,) = [note["arms"] for note in notes if note["about"] == "floors"]
    assert isinstance(arms, dict)
    assert arms["whole"]["head"]["nats"] == {}
    assert min(arms["wide"]["head"]["nats"].values()) >= 0
    assert arms["wide"]["head"]["nats"].keys() == arms["again"]["head"]["nats"].keys() != set()
    row = next(line for line in (finished / "report.md").read_text().splitlines() if line.startswith("| whole |"))
    assert [cell.strip() for cell in row.split("|")][3:7] == ["none: every weight", "none", "all", "the base"]


def test_every_verdict_of_such_a_study_follows_from_its_files(finished: Path, start: Start, finish: Finish) -> None:
    code, printed, _ = finish(start("verify", finished, "--rederive"))
    assert (code, "BROKEN" in printed) == (0, False)
    words = {v["prediction"]: v["word"] for v in json.loads(finish(start("judge", finished, "--json"))[1])}
    assert set(words) == {"H.1", "H.2"}
    assert "void" not in words.values()


@pytest.mark.slow
def test_a_study_killed_in_its_passes_ends_with_the_same_bytes(
    finished: Path, study_file: Path, tmp_path: Path, start: Start, finish: Finish
) -> None:
    out = tmp_path / "out"
    process = start("run", study_file, "--out", out, start_new_session=True)
    for run in ("whole.s0", "again.s0"):
        steps = out / run / "steps.jsonl"
        until = time.monotonic() + 240
        while not (steps.is_file() and steps.read_bytes().count(b"\n") > 6):
            assert time.monotonic() < until, run
            assert process.poll() is None, run
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        finish(process)
        process = start("run", study_file, "--out", out, "--resume", start_new_session=True)
    code, _, err = finish(process)
    assert code == 0, err
    assert contents(out) == contents(finished)


def contents(out: Path) -> dict[str, Any]:
    """Return adapters, models and measured lines; what follows the order of the ledger or the clock is left out."""
    found: dict[str, Any] = {
        str(path.relative_to(out)): path.read_bytes()
        for folder in ("adapter", "model")
        for path in out.glob(f"*/{folder}/*")
    }
    for path in out.glob("*/*.jsonl"):
        lines = [json.loads(text) for text in path.read_text().splitlines()]
        measured = [line for line in lines if line["kind"] in ("step", "observation", "review")]
        kept = [{k: v for k, v in line.items() if k not in ("wall_s", "prev", "sha256")} for line in measured]
        assert kept
        found[str(path.relative_to(out))] = kept
    found["verdicts"] = [entry.body for entry in Ledger.open(out).entries() if entry.type == "verdict"]
    return found


EDITS = [
    ("start_from: wide", "start_from: widest", "arm 'again' starts from 'widest'; arms are again, whole, wide"),
    ("start_from: wide", "start_from: whole", "starts from 'whole', which trains every weight"),
    ("start_from: wide", "start_from: again", r"starts from itself \(again from again\)"),
    ("wide: {rank: 4,", "wide: {start_from: again, rank: 4,", r"starts from itself \(again from wide from again\)"),
    ("wide: {rank: 4,", "wide: {seeds: [1], rank: 4,", "'again' has seed 0, and 'wide', from which it starts, has not"),
]


@pytest.mark.parametrize(("old", "new", "words"), EDITS)
def test_a_start_that_cannot_be_is_refused_with_its_arm(
    old: str, new: str, words: str, study_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(study_file.read_text().replace(old, new))
    with pytest.raises(SpecError, match=words):
        load_study(path)


def test_an_arm_is_not_run_without_the_one_it_starts_from(study_file: Path) -> None:
    study = load_study(study_file)
    with pytest.raises(UsageError, match=r"'again' starts from 'wide', which --arms leaves out.*--arms wide,again"):
        make_plan(study, Choices(arms=("again", "whole")))
    plan = make_plan(study, Choices(arms=("wide", "again")))
    assert {run.run: run.start_from for run in plan.runs} == {"again.s0": "wide.s0", "wide.s0": ""}
    assert {run.run: run.warmup_steps for run in plan.runs} == {"again.s0": 2, "wide.s0": 0}
