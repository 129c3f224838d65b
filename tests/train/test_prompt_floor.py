"""A model trained on fresh prompts comes down to their floors and never below them; one that saw them before does."""

import math
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leonids.floor.base_files import find_base, read_head
from leonids.floor.head import head_floor
from leonids.ledger.streams import read_stream
from leonids.spec import AdapterSpec, RunSpec
from leonids.stats.intervals import Interval, t_interval
from leonids.study.floors import tokenizer_of
from leonids.train.bases import load_base
from leonids.train.data import open_streams
from leonids.train.evaluate import Engine, HeldOut, teacher_forced
from leonids.train.native import NATIVE
from leonids.universe.universe import Universe

REVIEWS, HELD = (50, 200, 400, 800), 500
LEVEL = 1 - 0.05 / (len(REVIEWS) + 1)
"""Of each interval, so that all of them hold at once with 95 %."""

REPEATED, PASSES = 32, 80
SETS = 10


def excess(totals: list[dict[str, Any]]) -> Interval:
    """The mean of loss less floor over the prompt's tokens, in nats an example; the unit is the example."""
    found = t_interval([one["loss"]["prompt"][0] - one["floor"]["prompt"][0] for one in totals], level=LEVEL)
    assert isinstance(found, Interval)
    return found


def head_floors_of_names(universe: Universe, *, most: int) -> list[float]:
    """The certified head floor, in nats, of a name's first token in the prompt, after 0, 1, 2 ... other names.

    Each name that is left is equally likely. Which ones were taken hardly matters: the mean of ``SETS`` draws.
    """
    draw, head, tokenizer = random.Random(0), read_head(find_base("nano")), tokenizer_of("nano")
    first = [tokenizer.encode(universe.spec.layout.name.replace("{}", name))[0][1] for name in universe.names()]
    assert len(set(first)) == len(first)
    floors = []
    for taken in range(most):
        n = len(first) - taken
        found = head_floor(head, [dict.fromkeys(draw.sample(first, n), 1 / n) for _ in range(SETS if taken else 1)])
        floors.append(float(found.low.mean()) - math.log(n))
    return floors


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("ignore")
def test_loss_on_fresh_prompts_comes_down_to_both_floors_and_never_below(
    run_spec: Callable[..., RunSpec], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_spec(
        base="nano",
        loss_on="all",
        steps=REVIEWS[-1],
        batch_size=16,
        lr=1e-3,
        warmup_steps=80,
        reviews=REVIEWS,
        review_examples=HELD,
        test_examples=HELD,
        checkpoint_every=REVIEWS[-1],
    ).model_copy(update={"adapter": AdapterSpec(rank=128, alpha_rule="equal")})
    NATIVE.fit([run], out=tmp_path, resume=False)
    rows = [row for row in read_stream(tmp_path / run.run / "reviews.jsonl") if row.get("kind") == "observation"]
    by = {(row["step"], row["split"]): list[dict[str, Any]]() for row in rows}
    for row in rows:
        by[row["step"], row["split"]].append(row)
    found = {at: excess([row["metrics"] for row in own]) for at, own in by.items()}
    last = by[REVIEWS[-1], "test"]
    data = sum(row["metrics"]["floor"]["prompt"][0] for row in last) / len(last)
    lengths = Counter(int(row["tags"]["items"]) for row in last)
    assert run.universe is not None
    names = head_floors_of_names(Universe(run.universe), most=max(lengths))
    head = sum(count * sum(names[:length]) for length, count in lengths.items()) / len(last)
    with capsys.disabled():
        print(f"\nprompt: data floor {data:.3f}, head floor of its names {head:.3f} nats an example")
        for (step, split), own in found.items():
            print(f"step {step} {split}: excess {own.estimate:.3f} ({own.low:.3f} to {own.high:.3f}), n {own.n}")
    for own in found.values():
        assert own.high >= head > 0
    assert found[REVIEWS[0], "validation"].low > found[REVIEWS[-1], "validation"].high
    assert found[REVIEWS[-1], "test"].estimate - head < 0.01 * data


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_loss_on_prompts_that_were_seen_before_falls_below_their_floor(
    run_spec: Callable[..., RunSpec], make_trainer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_spec(base="nano", loss_on="all", steps=PASSES, batch_size=REPEATED, lr=2e-3, warmup_steps=8)
    run = run.model_copy(update={"adapter": AdapterSpec(rank=128, alpha_rule="equal")})
    base = load_base("nano", dtype="float32")
    (stream,) = open_streams([run], base)
    trainer = make_trainer(base.model, [run])
    seen = [stream.row("train", index) for index in range(REPEATED)]
    for step in range(PASSES):
        trainer.step(step, [[row.tokens for row in seen]])
    engine = Engine(base, trainer.body, trainer.head, trainer.stack, 4096)
    fresh = [stream.row("test", index) for index in range(200)]
    found = [
        excess(
            [one.totals for one in teacher_forced(engine, trainer.stack.chunks[0], HeldOut("test", [own], ["all"]))[0]]
        )
        for own in (seen, fresh)
    ]
    with capsys.disabled():
        for name, own in zip(("seen", "fresh"), found, strict=True):
            print(f"\n{name}: excess {own.estimate:.3f} ({own.low:.3f} to {own.high:.3f}), n {own.n}")
    assert found[0].high < 0 < found[1].low
