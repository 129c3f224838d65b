"""A study's folder as a run leaves it, with planted values, written through the ledger's own doors."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leonids.claims.prediction import resolved
from leonids.floor.entropy import Estimate
from leonids.floor.oracle import FloorReport, Rung
from leonids.ledger.chain import Ledger
from leonids.ledger.runs import RunWriter
from leonids.spec import RunSpec, StudySpec, read_yaml, validate
from leonids.study.conduct import judge_folder, plain, write_verdicts
from leonids.study.floors import ArmFloors, HeadReport
from leonids.study.folder import FLOORS, PLAN, StudyFolder
from leonids.study.plan import Choices, Plan, make_plan
from leonids.universe.blueprint import UniverseSpec
from leonids.universe.universe import Universe

EXAMPLES, STEPS = 80, 40
CEILING = 0.6
"""Best match of the universe with several answers."""

TOKENS = {"prompt": 30, "structure": 6, "copied": 3, "decided": 3, "end": 1}
EASE = {"prompt": 4.0, "structure": 3.0, "copied": 2.0, "decided": 1.0, "end": 3.0}
"""How fast a role is learnt: its excess falls as exp(-ease * progress)."""

STUDY = """
study: planted
title: What is a loss of 0.75 telling us?
arms:
  plain: {universe: consistent, rank: 64, alpha_rule: equal}
  small: {universe: consistent, rank: 8, alpha_rule: equal}
  mixed: {universe: disorder, rank: 64, alpha_rule: equal}
  whole: {universe: consistent, rank: 64, alpha_rule: equal, loss_on: all}
seeds: [0, 1]
reviews: [15%, 30%, 60%, 100%]
scales:
  nano: {base: nano, steps: 40, batch_size: 4, lr: 0.001, review_examples: 80, test_examples: 80}
hypotheses:
  puzzle:
    claim: The flat loss is the prompt's own entropy, while match rises.
    because: Most of the loss is a fair draw of words.
    predictions:
      - id: P1
        says: The loss on all tokens ends within 0.3 nats of its floor.
        measure: {metric: excess, tokens: all, arm: whole, seed: 0, final: true}
        expect: {below: 0.3}
        scope: run
        then: {supported: look at the answer alone, refuted: something can still be learnt}
      - id: P2
        says: Match ends above 99 %.
        measure: {metric: match, arm: plain, final: true}
        expect: {above: 99%}
        then: {refuted: the run did not learn, inconclusive: add seeds}
  rank:
    claim: Rank does not matter.
    needs: [puzzle]
    predictions:
      - id: P3
        says: At 60 % the ranks differ by less than 0.02 nats.
        measure: {metric: loss, arm: plain, versus: small, at: 60%}
        expect: {coincide: 0.02}
      - id: P4
        says: At 30 % the confidence on right tokens lies between 51 and 70 %.
        measure: {metric: confidence_right, tokens: decided, arm: plain, at: 30%}
        expect: {between: [51%, 70%]}
        beyond: {below: silent, above: refutes}
        role: supporting
questions:
  - asks: Does match reach 85-95 %?
    reads: [P2]
    yes: one universe is enough
    no: something is left
"""


class Ticking:
    """A clock that moves on by one second each time it is read."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 31, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@dataclass(frozen=True)
class Planted:
    """What to plant: the study's text, how far its runs have come, and what replaces an arm's floors."""

    text: str = STUDY
    progress: float = 1.0
    head_nats: float = 0.01
    head_reason: str = ""
    examples: int = EXAMPLES
    judged: bool = True
    odd_tokens: tuple[str, ...] = ()
    """What wrong tokens say, one after the other."""


def example(rng: np.random.Generator, run: RunSpec, progress: float) -> dict[str, Any]:
    """One example's totals by metric and role, from a model whose excess falls with progress."""
    scale = 1.0 if run.adapter.rank > 8 else 1.2
    mixed = run.universe.universe == "disorder"
    metrics: dict[str, dict[str, list[float]]] = {}
    all_right = True
    for role, size in TOKENS.items():
        if role == "prompt" and run.loss_on == "answer":
            continue
        left = scale * math.exp(-EASE[role] * 2 * progress)
        floor = rng.exponential(0.9, size) if role == "prompt" else np.zeros(size)
        if mixed and role == "structure":
            floor[0] = math.log(2) * 2 * rng.random()
        right = rng.random(size) > left / 2
        if mixed and role == "structure":
            right[0] &= rng.random() < CEILING
        top = np.where(right, 1 - left / 2 * rng.random(size), 0.3 + 0.4 * rng.random(size))
        loss = floor + left * rng.exponential(1, size) * 0.8
        rows = {
            "loss": (loss.sum(), size),
            "floor": (floor.sum(), size),
            "token_accuracy": (right.sum(), size),
            "confidence": (top.sum(), size),
            "brier": (((top - right) ** 2).sum(), size),
            "gold_confidence": (np.exp(-loss).sum(), size),
            "confidence_right": (top[right].sum(), right.sum()),
            "confidence_wrong": (top[~right].sum(), (~right).sum()),
        }
        for metric, (total, count) in rows.items():
            if count:
                metrics.setdefault(metric, {})[role] = [round(float(total), 9), int(count)]
        all_right &= bool(right.all()) or role == "prompt"
    metrics["match"] = {"example": [int(all_right), 1]}
    return metrics


def pooled(parts: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in parts:
        for metric, roles in part.items():
            for role, (total, count) in roles.items():
                cell = found.setdefault(metric, {}).setdefault(role, [0.0, 0])
                cell[0] += total
                cell[1] += count
    return found


DRAWN: dict[tuple[str, str, int, int], dict[str, Any]] = {}


def tags_of(universe: UniverseSpec, split: str, seed: int, index: int) -> dict[str, Any]:
    """The tags of the example that is drawn again beside a planted line."""
    at = (repr(universe), split, seed, index)
    if at not in DRAWN:
        DRAWN[at] = dict(Universe(universe).example(split, seed, index).tags)
    return DRAWN[at]


def answer(index: int, *, right: bool, odd: tuple[str, ...]) -> dict[str, Any]:
    """An answer token by token; a wrong one says something else at its third token and after its end."""
    gold = ["[", '"k', "ite", '",', " 7", "]", ""]
    said: list[str | None] = [None] * len(gold)
    sure, known = [0.999, 0.995, 0.5, 0.6, 0.8, 0.95, 0.99], [0.999, 0.995, 0.5, 0.6, 0.8, 0.95, 0.99]
    if not right:
        said[2], known[2] = odd[index % len(odd)] if odd else "ey", 0.25
        said[6], known[6] = "\n", 0.004
    return {"gold": gold, "said": said, "confidence": sure, "gold_confidence": known, "roles": "ssdssse"}


def write_review(
    writer: RunWriter, rng: np.random.Generator, run: RunSpec, *, step: int, split: str, n: int,
    odd: tuple[str, ...] = (),
) -> None:  # fmt: skip
    rows = [example(rng, run, step / run.steps) for _ in range(n)]
    for index, metrics in enumerate(rows):
        line = {"kind": "observation", "step": step, "split": split, "index": index, "metrics": metrics}
        line |= {"tags": tags_of(run.universe, split, run.data_seed, index)}
        line |= {"answer": answer(index, right=metrics["match"]["example"][0] == 1, odd=odd)}
        if index < 2:
            line["generated"] = odd[-1] if odd else '["key'
        writer.reviews.append(line)
    audit = {"n": 8, "disagreements": 0, "low": 0.0, "high": 0.37, "level": 0.95, "match_stands": True}
    head = {"kind": "review", "step": step, "split": split, "n": n}
    writer.reviews.append({**head, "metrics": pooled(rows), "audit": audit})


def write_run(out: Path, ledger: Ledger, run: RunSpec, planted: Planted) -> None:
    rng = np.random.default_rng([7, run.data_seed, run.adapter.rank])
    done = round(planted.progress * run.steps)
    with RunWriter.create(out, run.run, {"spec": run.model_dump(mode="json")}, ledger) as writer:
        if done:
            write_review(writer, rng, run, step=0, split="validation", n=planted.examples, odd=planted.odd_tokens)
        for step in range(1, done + 1):
            rows = [example(rng, run, step / run.steps) for _ in range(run.batch_size)]
            writer.steps.append({
                "kind": "step", "step": step, "split": "train", "lr": 1e-3, "wall_s": 0.25,
                "examples": run.batch_size, "metrics": pooled(rows),
            })  # fmt: skip
            if step in run.reviews:
                write_review(
                    writer, rng, run, step=step, split="validation", n=planted.examples, odd=planted.odd_tokens
                )
        if done == run.steps:
            write_review(writer, rng, run, step=done, split="test", n=planted.examples, odd=planted.odd_tokens)
            writer.finish()
        else:
            writer.commit()


def floors(run: RunSpec, planted: Planted) -> dict[str, Any]:
    """Floors of the right shape; the answer's is above zero where the universe has several answers."""
    mixed = run.universe.universe == "disorder"
    answer = Estimate(math.log(2) if mixed else 0.0, 0.0, 2000, exact=False)
    prompt = Estimate(27.0, 0.1, 2000, exact=False)
    ceiling = Estimate(CEILING if mixed else 1.0, 0.0, 2000, exact=False)

    def report(tokens: str, nats: float, count: float) -> FloorReport:
        return FloorReport(
            tokens=tokens,
            tokenizer="nano",
            nats_per_example=Estimate(nats, 0.1, 2000, exact=False),
            tokens_per_example=Estimate(count, 0.0, 2000, exact=False),
            nats_per_token=nats / count,
            prompt_nats=prompt,
            answer_nats=answer,
            ceiling=ceiling,
            meaning_ceiling=ceiling,
        )

    head = HeadReport({"decided": planted.head_nats}, 1e-4, (("}\n", 0.3),), 200, reason=planted.head_reason)
    both = report("all", 27.0 + answer.mean, 43.0), report("answer", answer.mean, 13.0)
    plateaus = (
        ("the format", 5.0),
        ("the type of question", 4.0),
        ("the pipeline", 3.0),
        ("everything", answer.mean),
    )
    return ArmFloors(run.arm, *both, head, tuple(Rung(knows, nats, 0.0) for knows, nats in plateaus)).to_json()


def register(plan: Plan, out: Path, planted: Planted) -> Ledger:
    ledger = Ledger.open(out, clock=Ticking())
    ledger.append("note", {"about": PLAN, "digest": plan.digest, **plan.to_json()})
    first = {run.arm: run for run in reversed(plan.runs)}
    ledger.append("note", {"about": FLOORS, "arms": plain({arm: floors(first[arm], planted) for arm in plan.arms})})
    ledger.register([resolved(prediction) for prediction in plan.predictions])
    return ledger


Plant = Callable[..., StudyFolder]


def plant(out: Path, planted: Planted) -> StudyFolder:
    study = validate(StudySpec, read_yaml(planted.text, name="planted"), name="planted")
    plan = make_plan(study, Choices())
    ledger = register(plan, out, planted)
    for run in plan.runs:
        write_run(out, ledger, run, planted)
    if planted.judged:
        at = None if planted.progress == 1.0 else planted.progress
        write_verdicts(ledger, judge_folder(StudyFolder.open(out), at=at), at=at)
    return StudyFolder.open(out)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """A finished study."""
    return plant(tmp_path_factory.mktemp("whole"), Planted())


@pytest.fixture
def planted(tmp_path: Path) -> Plant:
    """Plant a study of one's own: ``planted(progress=0.5)``."""

    def of(*, where: str = "out", **options: Any) -> StudyFolder:
        return plant(tmp_path / where, Planted(**options))

    return of


@pytest.fixture(scope="session")
def planted_study() -> str:
    """The text of the study that is planted."""
    return STUDY
