"""Each dial alone and together: the answer's floor and ceiling, measured from the oracle, beside the closed form.

Measured is the mean over drawn prompts of the exact entropy of each prompt's answers; the closed form is worked out
for each of the same prompts, read back from its text, without the dial's program. Where two dials meet, the sum of
both is printed: it is the floor only if they never touch the same symbol. The last column is what the prompt costs
more than without the dial. Last comes a toy of 32 prompts, enumerated: two items of weight 1 to 4, and a word whose two
meanings lie one weight apart, so that the answers differ with probability 1 - (3/4)^2.

    python benchmarks/dials.py [--examples 100000] [--out FILE.json]
"""

import argparse
import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias, final

from leonids.floor.entropy import entropy_of, prompt_nats
from leonids.floor.oracle import ceiling, meaning_ceiling
from leonids.spec import load_universe
from leonids.universe.blueprint import (
    AnswerFormat,
    Catalog,
    Conflict,
    Disorder,
    FormatShare,
    Layout,
    Noise,
    Phrasing,
    Stated,
    Threshold,
    UniverseSpec,
)
from leonids.universe.chance import enumerate_all
from leonids.universe.program import Task
from leonids.universe.universe import Universe
from leonids.universe.values import Record

SHARES = (0.74, 0.06, 0.2)
FORMATS = (
    AnswerFormat(),
    AnswerFormat(name="bare", before="", after=""),
    AnswerFormat(name="assigned", before="result = ", after=";"),
)
OTHER = Threshold(property="weight", above=3)
NOISE, NUMBERS, WORDINGS = 0.1, (0, 12), (0.5, 0.3, 0.2)
PHRASES = ("count them", "say how many there are", "give their number")

formats = Disorder(formats=tuple(FormatShare(share=p, format=f) for p, f in zip(SHARES, FORMATS, strict=True)))
conflict = Disorder(conflict=Conflict(word="heavy", share=0.2, other=OTHER))
noise = Disorder(noise=Noise(share=NOISE, numbers=NUMBERS))
key_order = Disorder(key_order=True)
fixed = Disorder(conflict=Conflict(word="heavy", share=0.2, other=OTHER, per="run"))
paraphrase = Disorder(
    paraphrase={"count": tuple(Phrasing(share=p, phrase=w) for p, w in zip(WORDINGS, PHRASES, strict=True))}
)
both = replace(conflict, noise=noise.noise)
everything = replace(both, formats=formats.formats, key_order=True, paraphrase=paraphrase.paraphrase)

Found: TypeAlias = dict[str, float | str]

Closed: TypeAlias = tuple[float, float]
"""The closed form for one prompt: nats of its answer, and the ceiling of match."""


@final
@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a dial on a shipped universe, its closed form for a task, or its parts."""

    name: str
    disorder: Disorder
    form: Callable[[Task], Closed] | None
    base: str = "consistent"
    parts: tuple[str, ...] = ()


CONSISTENT = Universe(load_universe("consistent"))
WIDE = Universe(load_universe("wide"))
TWISTED = Universe(
    replace(CONSISTENT.spec, catalog=replace(CONSISTENT.spec.catalog, definitions={"heavy": OTHER}), universe="twisted")
)


def _formats(task: Task) -> Closed:
    return entropy_of(SHARES), max(SHARES)


def _conflict(task: Task) -> Closed:
    differ = CONSISTENT.answers.value(task) != TWISTED.answers.value(task)
    return (entropy_of((0.2, 0.8)), 0.8) if differ else (0.0, 1.0)


def _noise(task: Task) -> Closed:
    value = CONSISTENT.answers.value(task)
    if not isinstance(value, int) or not NUMBERS[0] <= value <= NUMBERS[1]:
        return 0.0, 1.0
    return entropy_of((NOISE, 1 - NOISE)) + NOISE * math.log(NUMBERS[1] - NUMBERS[0]), 1 - NOISE


def _key_order(task: Task) -> Closed:
    value = WIDE.answers.value(task)
    orders = math.factorial(len(value.entries)) if isinstance(value, Record) else 1
    return math.log(orders), 1 / orders


def _nothing(task: Task) -> Closed:
    return 0.0, 1.0


ROWS = (
    Row("several formats", formats, _formats),
    Row("a word with two meanings", conflict, _conflict),
    Row("its meaning fixed per run", fixed, _nothing),
    Row("label noise", noise, _noise),
    Row("paraphrase", paraphrase, _nothing),
    Row("key order", key_order, _key_order, base="wide"),
    Row("formats + noise", replace(formats, noise=noise.noise), None, parts=("several formats", "label noise")),
    Row("two meanings + noise", both, None, parts=("a word with two meanings", "label noise")),
    Row("all of them", everything, None, base="wide"),
)


TOY = UniverseSpec(
    universe="toy",
    version=1,
    catalog=Catalog(
        names=("otter", "onion"),
        stated=(Stated(name="weight", numbers=(1, 4)),),
        definitions={"heavy": Threshold(property="weight", above=2)},
    ),
    items={2: 1.0},
    depths={2: 1.0},
    skills={"filter": 1.0, "count": 1.0},
    wording={"filter.heavy": "keep the heavy ones", "count": "count them"},
    layout=Layout(attributes=("weight",)),
)
TOY_CONFLICT = Conflict(word="heavy", share=0.2, other=Threshold(property="weight", above=1))
TOY_DIFFER = 1 - (3 / 4) ** 2
TOY_ROWS = {
    "toy: two meanings": (Disorder(conflict=TOY_CONFLICT), TOY_DIFFER * entropy_of((0.2, 0.8))),
    "toy: noise": (noise, entropy_of((NOISE, 1 - NOISE)) + NOISE * math.log(12)),
    "toy: two meanings + noise": (Disorder(conflict=TOY_CONFLICT, noise=noise.noise), None),
}


def enumerated_floor(spec: UniverseSpec) -> tuple[float, float]:
    """Return the answer's floor in nats and the ceiling of match over all prompts of a tiny universe, exactly."""
    universe = Universe(spec)
    floor = best = 0.0
    for task, replay in enumerate_all(universe.draw_task):
        shares = universe.answers.dictionary(task)
        floor += math.exp(-replay.nats) * entropy_of(shares.values())
        best += math.exp(-replay.nats) * max(shares.values())
    return floor, best


def _toy_lines(found: list[Found]) -> list[str]:
    lines, parts = [], 0.0
    for name, (disorder, closed) in TOY_ROWS.items():
        floor, best = enumerated_floor(replace(TOY, disorder=disorder))
        shown = f"sum {parts:.4f}" if closed is None else f"{closed:.4f}"
        parts += closed or 0.0
        lines.append(f"{name:26s} {floor:8.4f} {shown:>11s}  {best:8.4f}")
        found.append({"dial": name, "answer": floor, "closed_or_sum": closed or parts, "ceiling": best})
    return lines


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return math.fsum(listed) / len(listed)


def _line(row: Row, *, count: int, alone: dict[str, float], found: list[Found]) -> str:
    bare = Universe(load_universe(row.base))
    universe = Universe(replace(bare.spec, disorder=row.disorder))
    each = zip(*(_of_one(row, bare, universe, i) for i in range(count)), strict=True)
    answer, best, meaning, more, nats, top = map(_mean, each)
    closed, closed_best = "", ""
    if row.form is not None:
        alone[row.name] = nats
        closed, closed_best = f"{nats:.4f}", f"{top:.4f}"
    elif row.parts:
        closed = f"sum {sum(alone[part] for part in row.parts):.4f}"
    found.append(
        {"dial": row.name, "answer": answer, "closed_or_sum": closed, "ceiling": best, "meaning": meaning, "more": more}
    )
    return f"{row.name:26s} {answer:8.4f} {closed:>11s}  {best:8.4f} {closed_best:>11s}  {meaning:8.4f} {more:+8.4f}"


def _of_one(row: Row, bare: Universe, universe: Universe, index: int) -> tuple[float, ...]:
    """Return of one prompt: answer nats, both ceilings, the prompt's nats more than without the dial, closed form."""
    example, plain = (one.example("train", 0, index) for one in (universe, bare))
    closed = row.form(bare.parse_prompt(plain.prompt)[0][0]) if row.form is not None else (math.nan, math.nan)
    more = prompt_nats(example) - prompt_nats(plain)
    return entropy_of(example.answers.values()), ceiling(example), meaning_ceiling(universe, example), more, *closed


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=100_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    count = options.examples
    alone: dict[str, float] = {}
    found: list[Found] = []
    print(f"{count} examples of each universe, nats/example")
    print(
        f"{'dial':26s} {'answer':>8s} {'closed form':>11s}  {'ceiling':>8s} {'closed form':>11s}  {'meaning':>8s} more"
    )
    for row in ROWS:
        print(_line(row, count=count, alone=alone, found=found), flush=True)
    print("\n".join(_toy_lines(found)))
    if options.out is not None:
        options.out.write_text(json.dumps({"examples": count, "nats_per_example": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
