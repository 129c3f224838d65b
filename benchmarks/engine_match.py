"""Match by one teacher-forced pass, against transformers' generate() giving the same answers.

The peer is what one has without leonids: the adapter that was trained here, loaded by PEFT onto the same base in
float32, and `generate()` with greedy decoding of 8 prompts at a time (what transformers evaluates at a time unless told
otherwise), padded on the left, in the order of the data. It may write as many tokens as the longest right answer of its
batch and stops when all have ended. It is timed as PEFT loads an adapter, beside the base's weights, once more with it
merged into them, and once more with one prompt at a time, as a loop over examples has it.

    leonids bases get smollm2-135m && python benchmarks/engine_match.py [--repeats 5] [--base nano] [--items 8]
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from support.engine import Maker, passes, report_rows, steps_of

from leonids.spec import load_universe
from leonids.train.adapters import peft_tensors, write_adapter
from leonids.train.bases import in_float32, load_base
from leonids.train.data import Row
from leonids.train.evaluate import HeldOut, audit, greedy, held_out, teacher_forced, until
from leonids.train.native import Training
from leonids.universe.blueprint import Transfer, UniverseSpec

USUAL = 8


@dataclass(frozen=True)
class Size:
    """A base, how many steps its adapter is trained, how many answers are measured, and of which universes."""

    base: str
    steps: int
    examples: int
    items: tuple[int, ...]


SIZES = (Size("nano", 60, 200, (0, 8, 16)), Size("smollm2-135m", 30, 96, (0, 8)))


def asked(items: int) -> UniverseSpec:
    """Return `consistent`, or where ``items`` are given, its items listed by name: so many names an answer."""
    spec = load_universe("consistent")
    if not items:
        return spec
    names = {"items": {items: 1.0}, "depths": {1: 1.0}, "skills": {"names": 1.0}, "transfer": Transfer()}
    return replace(spec, **names)  # type: ignore[arg-type]


def stock(training: Training, folder: Path) -> Any:
    """Return the trained adapter on its base as PEFT loads it, in float32."""
    run = training.runs[0]
    folder.mkdir()
    write_adapter(folder, peft_tensors(training.stack, 0), spec=run.adapter, base=run.base)
    return PeftModel.from_pretrained(load_base(run.base, dtype="float32").model, folder).eval()


def generated(model: Any, rows: Sequence[Row], *, end: int, at_once: int) -> list[list[int]]:
    """Return a model's greedy answers to the rows' prompts, so many prompts at a time."""
    found: list[list[int]] = []
    for first in range(0, len(rows), at_once):
        tokens = [row.tokens for row in rows[first : first + at_once]]
        prompts = [list(one.ids[: one.prompt_tokens]) for one in tokens]
        room, width = max(len(one.ids) - one.prompt_tokens for one in tokens), max(map(len, prompts))
        out = model.generate(
            input_ids=torch.tensor([[end] * (width - len(prompt)) + prompt for prompt in prompts]),
            attention_mask=torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]),
            generation_config=greedy(end=end, room=room),
        )
        found += [until(answer, end) for answer in out[:, width:].tolist()]
    return found


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds of processor time that a call takes, and what it gives."""
    begun = time.process_time()
    found = function()
    return time.process_time() - begun, found


def one_pass(training: Training, held: HeldOut) -> Any:
    """Return what a review measures of its examples, as a review does it."""
    (chunk,) = training.stack.chunks
    with in_float32(training.engine.base.model):
        return teacher_forced(training.engine, chunk, held)[0]


def compare(make: Maker, size: Size, items: int, *, repeats: int) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Return the ratios of time by peer, and how many answers disagree."""
    name = f"{size.base}-{items}"
    training = make(name, base=size.base, rank=128, steps=size.steps, universe=asked(items), batch_size=USUAL)
    steps_of(training, size.steps - 1)
    held = held_out(training.streams, ["answer"], split="test", first=0, n=size.examples)
    rows, end = held.rows[0], training.engine.base.eos_id
    prompt = statistics.fmean(row.tokens.prompt_tokens for row in rows)
    answer = statistics.fmean(len(row.tokens.ids) - row.tokens.prompt_tokens for row in rows)
    place = f"{size.base}, {size.examples} prompts of {prompt:.0f} tokens, answers of {answer:.1f}"
    beside = stock(training, make.scratch / f"{name}-beside")
    merged = stock(training, make.scratch / f"{name}-merged").merge_and_unload()
    one_pass(training, held)
    ratios: dict[str, list[float]] = {}
    facts: dict[str, Any] = {"forced_s": [], "right": 0, "disagreements": {}}
    for _ in range(repeats):
        forced, found = timed(lambda: one_pass(training, held))
        facts["forced_s"].append(round(forced, 3))
        facts["right"] = sum(one.totals["match"]["example"][0] for one in found)
        for peer, model, at_once in (
            ("adapter beside the weights", beside, USUAL),
            ("adapter merged", merged, USUAL),
            ("adapter beside the weights, one prompt at a time", beside, 1),
        ):
            ask = partial(generated, model, rows, end=end, at_once=at_once)
            seconds, answers = timed(ask)
            ratios.setdefault(f"{place}; {peer}", []).append(seconds / forced)
            counted = audit(training.engine, training.streams[0], found, answers)["disagreements"]
            facts["disagreements"][peer] = max(counted, facts["disagreements"].get(peer, 0))
            facts[f"tokens_written, {peer}"] = sum(map(len, answers)) / len(answers)
    return ratios, {place: facts}


def main() -> None:
    """Measure both in turns and report the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--base", default="", help="only this base")
    parser.add_argument("--items", type=int, help="only this many items a list (0: the universe consistent)")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows: dict[str, list[float]] = {}
    facts: dict[str, Any] = {}
    for size in SIZES:
        for items in size.items if given.base in ("", size.base) else ():
            if given.items in (None, items):
                with passes() as make:
                    found, more = compare(make, size, items, repeats=given.repeats)
                rows |= found
                facts |= more
    report_rows(
        __file__,
        rows,
        unit="processor seconds of generate() / of one teacher-forced pass, one thread, float32; at least 5, aim 20",
        facts=facts,
    )


if __name__ == "__main__":
    main()
