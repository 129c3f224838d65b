"""A study of two arms on the tiny base, and a trainer that writes runs as a back end does, without torch."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from leonids.ledger.chain import Ledger
from leonids.ledger.runs import RunWriter, run_state
from leonids.ledger.writers import run_ledger
from leonids.records import ANSWER_ROLES, Verdict
from leonids.spec import RunSpec, StudySpec, load_study
from leonids.study import conduct, join
from leonids.study.floors import ArmFloors, floors_by_arm
from leonids.study.folder import StudyFolder
from leonids.study.plan import Choices, Plan, make_plan
from leonids.study.progress import RunProgress

STUDY = """\
study: two-arms
title: Do two arms differ?
arms:
  wide: {{rank: 4, alpha_rule: equal}}
  thin: {{rank: 2, alpha_rule: equal}}
seeds: [0]
reviews: [25%, 50%, 100%]
scales:
  nano: {{base: {base}, steps: 8, batch_size: 2, lr: 0.01, review_examples: 12, test_examples: 12, checkpoint_every: 3}}
  small: {{base: nano, steps: 20, batch_size: 4, lr: 0.001, warmup_steps: 10}}
hypotheses:
  H1:
    claim: Both learn.
    predictions:
      - id: H1.1
        says: Early on few answers match.
        measure: {{metric: match, split: validation, arm: wide, seed: 0, at: 25%}}
        expect: {{below: 90%}}
        scope: run
      - id: H1.2
        says: The loss has come down by half-time.
        measure: {{metric: loss, tokens: answer, split: validation, arm: wide, seed: 0, at: 50%}}
        expect: {{below: 3.5}}
        scope: run
      - id: H1.3
        says: The two arms end alike.
        measure: {{metric: loss, tokens: answer, split: validation, arm: thin, versus: wide, seed: 0, final: true}}
        expect: {{coincide: 0.5}}
        scope: run
      - id: H1.4
        says: Unseen examples are matched at the end.
        measure: {{metric: match, split: test, arm: wide, seed: 0, final: true}}
        expect: {{above: 20%}}
        scope: run
questions:
  - {{asks: Do both learn?, reads: [H1.1, H1.2], yes: go on, no: look again}}
"""


@pytest.fixture
def study_file(tmp_path: Path, tiny_base: Path) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY.format(base=tiny_base))
    return path


@pytest.fixture
def study(study_file: Path) -> StudySpec:
    return load_study(study_file)


@pytest.fixture
def plan(study: StudySpec) -> Plan:
    return make_plan(study, Choices())


@pytest.fixture(scope="session")
def _floors() -> dict[str, ArmFloors]:
    return {}


@pytest.fixture(autouse=True)
def _floors_once(monkeypatch: pytest.MonkeyPatch, _floors: dict[str, ArmFloors]) -> None:
    """Compute the floors of one arm once for all tests: every arm here has the same universe and base."""

    def shared(runs: Sequence[RunSpec]) -> dict[str, ArmFloors]:
        if not _floors:
            _floors.update(floors_by_arm(runs[:1]))
        one = next(iter(_floors.values()))
        return {run.arm: ArmFloors(run.arm, one.all, one.answer, one.head) for run in runs}

    monkeypatch.setattr(conduct, "floors_by_arm", shared)


class Died(Exception):
    """The trainer was cut short."""


def totals(value: float, *, matches: int) -> dict[str, Any]:
    by_role = {role: [value * count, count] for role, count in zip(ANSWER_ROLES, (11, 5, 3, 1), strict=True)}
    zero = {role: [0.0, count] for role, (_, count) in by_role.items()}
    sure, right, apart = (
        {role: [share * count, count] for role, (_, count) in by_role.items()} for share in (0.9, 0.6, 0.25)
    )
    found = {"loss": by_role, "floor": zero, "match": {"example": [matches, 1]}}
    return {**found, "confidence": sure, "token_accuracy": right, "brier": apart}


def write_step(writer: RunWriter, run: RunSpec, step: int) -> None:
    loss = 5.0 - 3.0 * step / run.steps + 0.01 * run.adapter.rank
    line = {"kind": "step", "step": step, "split": "train", "wall_s": 0.5, "examples": run.batch_size}
    writer.steps.append({**line, "metrics": totals(loss, matches=0)})


def write_review(writer: RunWriter, run: RunSpec, step: int) -> None:
    loss = 5.0 - 3.0 * step / run.steps + 0.01 * run.adapter.rank
    splits = ("validation", "test") if step == run.steps else ("validation",)
    for split in splits:
        for index in range(run.review_examples):
            matched = int(step == run.steps and index % 4 > 0)
            line = {"kind": "observation", "step": step, "split": split, "index": index, "tags": {}}
            writer.reviews.append({**line, "metrics": totals(loss + 0.05 * (index % 5), matches=matched)})
        head = {"kind": "review", "step": step, "split": split, "n": run.review_examples}
        writer.reviews.append({**head, "metrics": totals(loss, matches=0)})


class Trainer:
    """Writes runs step by step in the place of ``launch``; ``dies_at`` is the step after which it is killed."""

    def __init__(self, *, dies_at: int | None = None) -> None:
        self.dies_at = dies_at
        self.begun = 0
        self.manifest: Mapping[str, Any] = {}

    def __call__(
        self, runs: Sequence[RunSpec], *, out: Path, resume: bool, tick: Callable[[], None], planned: Any = None
    ) -> None:
        self.begun += 1
        for run in runs:
            ledger = run_ledger(out, run.run)
            if run_state(ledger.entries(), run.run) == "finished":
                continue
            done = 0
            if resume and run_state(ledger.entries(), run.run) == "started":
                mark = {e.body["run"]: e.body["streams"] for e in ledger.entries() if e.type == "run_head"}[run.run]
                done = mark["steps"]["records"] - 1
                writer = RunWriter.resume(out, run.run, ledger, mark)
            else:
                writer = RunWriter.create(out, run.run, {"run": run.run, **self.manifest}, ledger)
            with writer:
                self._train(run, writer, done, tick)
        tick()

    def _train(self, run: RunSpec, writer: RunWriter, done: int, tick: Callable[[], None]) -> None:
        if done == 0:
            write_review(writer, run, 0)
            writer.commit()
        for step in range(done + 1, run.steps + 1):
            write_step(writer, run, step)
            tick()
            if step in run.reviews:
                write_review(writer, run, step)
                tick()
                if step == self.dies_at:
                    raise Died
                writer.commit()
            tick()
        writer.finish()


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Trainer]:
    def use(**settings: Any) -> Trainer:
        trainer = Trainer(**settings)
        for room in (conduct, join):
            monkeypatch.setattr(room, "launch", trainer)
        # Nothing is trained, so nothing is tried out: tests/test_end_to_end.py does.
        monkeypatch.setattr(conduct, "rehearsal", lambda *_, **__: nullcontext(lambda: None))
        return trainer

    return use


class Notes:
    """A watch that remembers what it was told."""

    def __init__(self) -> None:
        self.locked = 0
        self.seen: list[tuple[RunProgress, ...]] = []
        self.reviews: list[float] = []
        self.awaited: dict[str, str] = {}
        self.started_when_locked: bool | None = None

    def registered(self, plan: Plan, out: Path) -> None:
        self.locked += 1
        self.started_when_locked = any(entry.type == "data_start" for entry in Ledger.open(out).entries())

    def grouped(self, passes: Sequence[Any]) -> None:
        raise AssertionError("the trainer of these tests groups nothing")

    def waiting(self, runs: Mapping[str, str]) -> None:
        self.awaited = dict(runs)

    def moved(self, runs: Sequence[RunProgress]) -> None:
        self.seen.append(tuple(runs))

    def reviewed(self, folder: StudyFolder, at: float, verdicts: Sequence[Verdict]) -> None:
        assert len(verdicts) == len(folder.study.predictions)
        self.reviews.append(at)


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture(name="verdicts_in")
def _verdicts_in() -> Callable[[Path], list[Mapping[str, Any]]]:
    return lambda out: [entry.body for entry in Ledger.open(out).entries() if entry.type == "verdict"]


@pytest.fixture(name="contents")
def _contents() -> Callable[[Path], dict[str, bytes]]:
    def read(out: Path) -> dict[str, bytes]:
        files = (path for path in out.rglob("*") if path.is_file() and path.suffix != ".lock")
        return {str(path.relative_to(out)): path.read_bytes() for path in files}

    return read


@pytest.fixture(name="Died", scope="session")
def _died() -> type[Exception]:
    return Died
