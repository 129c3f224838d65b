"""The rules R1 to R7 of a universe, tried on drawn examples: what `leonids lint UNIVERSE` looks at."""

import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import TypeVar

from leonids.claims.lint import Finding
from leonids.digest import keyed_random
from leonids.errors import LeonidsError, SpecError
from leonids.floor.tokens import TokenFloor, Tokenizer
from leonids.spec import load_universe
from leonids.study.floors import tokenizer_of
from leonids.universe.catalog import Item
from leonids.universe.chance import Sample
from leonids.universe.program import State, Step, Task
from leonids.universe.render import answer_text
from leonids.universe.skills import Meanings
from leonids.universe.universe import Universe
from leonids.universe.values import Hundredths, Record, Value, value_json

T = TypeVar("T")

LINTED_EXAMPLES = 500
INPUTS = 12
"""Lists that each step is tried on, the shortest that occur among them."""

ANSWERS = 40
"""Answers drawn for each of as many prompts."""

R1 = "R1: randomness only through choose"
R2 = "R2: nothing is drawn and thrown away, so a skill answers whatever it is offered"
R3 = "R3: a text has exactly one derivation"
R4 = "R4: the answer is a pure function of what was chosen"
R6 = "R6: a choice that leaves no trace in the text is a latent of the answer, and all its branches are added up"
TYPES: dict[str, tuple[type, ...]] = {
    "items": (tuple,), "ranked": (tuple,), "names": (tuple,), "number": (int,), "decimal": (Hundredths,),
    "name": (str,), "object": (Record,), "fork": (bool,),
}  # fmt: skip


def lint_universe(reference: str, *, tokenizer: str | None = None) -> tuple[Finding, ...]:
    """Return the first rule that a universe breaks, with its number and the way out; empty where all hold.

    ``tokenizer`` is a base whose tokens are to have floors (R7); raises ``BaseError`` where there is no such base.
    """
    reader = None if tokenizer is None else tokenizer_of(tokenizer)
    try:
        made = Universe(load_universe(reference))
        for split in ("train", *made.transfer_splits()):
            _check_derivations(made, split)
            _check_skills(made, split)
            _check_drawn_answers(made, split)
        _check_same_bytes(made)
        if reader is not None:
            _check_tokens(made, reader)
    except LeonidsError as error:
        rule = re.match(r"R[1-7]", error.rule)
        says = ": ".join(filter(None, (error.problem, error.rule)))
        return (Finding(reference, rule[0] if rule else "spec", "refuse", says, error.way_out or "see docs/floor.md"),)
    return ()


def _drawn(universe: Universe, split: str) -> Iterator[tuple[Task, str, Sample]]:
    """Yield drawn tasks with their prompts, no answer worked out: fewer of the splits that are not trained on."""
    for index in range(LINTED_EXAMPLES if split == "train" else LINTED_EXAMPLES // 5):
        chance = Sample(keyed_random("lint", split, index))
        task = universe.prompts(split).draw_task(chance)
        yield task, "".join(emission.text for emission in chance.emissions), chance


def _check_derivations(universe: Universe, split: str) -> None:
    """R3, and the half of R6 that prompts can break."""
    for task, prompt, chance in _drawn(universe, split):
        if chance.latents:
            problem = f"the prompt's program draws {chance.latents[0][0]!r}, which no prompt shows"
            raise SpecError(problem, rule=R6, way_out="emit it with choose, or draw it where the answer is written")
        parses = universe.parse_prompt(prompt, split=split)
        if len(parses) != 1 or parses[0][0].meaning != task.meaning:
            problem = f"{prompt!r} has {len(parses)} derivations"
            raise SpecError(problem, rule=R3, way_out="change layout or wording so that each choice ends visibly")


def _check_skills(universe: Universe, split: str) -> None:
    """R1, R2 and R4 for every step that can be asked for, on lists that can come before it."""
    prompts = universe.prompts(split)
    met: dict[State, dict[tuple[Item, ...], None]] = defaultdict(dict)
    meanings = universe.answers_of(split).meanings[0]
    for task, _, _ in _drawn(universe, split):
        items, state = task.items, State()
        for step in task.steps:
            met[state][items] = None
            if step is not task.steps[-1]:
                items = _applied(step, items, meanings)  # type: ignore[assignment]
                state = prompts.pipelines.after(state, step)
    for state, lists in met.items():
        steps = list(prompts.pipelines.sites[state].steps)
        if state.kind in prompts.pipelines.branches:
            steps += prompts.pipelines.branches[state.kind].steps
        for step in {(step.skill.name, step.parameter): step for step in steps}.values():
            for items in sorted(lists, key=len)[: INPUTS // 2] + list(lists)[: INPUTS // 2]:
                _try_step(universe, step, items, meanings)


def _try_step(universe: Universe, step: Step, items: tuple[Item, ...], meanings: Meanings) -> None:
    first, again, poisoned = (_under(seed, lambda: _applied(step, items, meanings)) for seed in (1, 1, 2))
    shown = f"skill {step.skill.name!r} on {len(items)} items"
    if first != again:
        problem = f"{shown} gave {_short(first)}, and asked once more {_short(again)}"
        raise SpecError(problem, rule=R4, way_out="let it depend on items, parameter and meanings alone")
    if first != poisoned:
        problem = f"{shown} gave {_short(first)}, and {_short(poisoned)} under another global seed"
        raise SpecError(problem, rule=R1, way_out="draw nothing in a skill; a dial draws with chance.latent")
    if step.skill.gives in ("items", "ranked", "fork"):
        return
    fmt = universe.answers.formats[0]
    text = answer_text(first, fmt)
    if universe.parse_answer(text) != {"result": value_json(first)}:
        problem = f"the answer {text!r} of {shown} reads back as {universe.parse_answer(text)!r}"
        raise SpecError(problem, rule=R4, way_out="give a value of universe/values.py that answers can hold")


def _under(seed: int, work: Callable[[], T]) -> T:
    """Do ``work`` with the global generator, which nothing may read, in a state of its own."""
    kept = random.getstate()
    random.seed(seed)  # noqa: TID251 - poisoned on purpose, and put back
    try:
        return work()
    finally:
        random.setstate(kept)


def _applied(step: Step, items: tuple[Item, ...], meanings: Meanings) -> Value:
    """Return what a skill makes of a list it may be offered. Raises ``SpecError`` where it fails or rejects."""
    skill = step.skill
    shown = f"skill {skill.name!r} ({step.parameter.text or 'no parameter'}) on {len(items)} items"
    try:
        value = skill.apply(items, step.parameter, meanings)
    except Exception as error:  # noqa: BLE001 - whatever a skill raises is what is looked for
        problem = f"{shown} raised {type(error).__name__}: {_short(str(error))}"
        raise SpecError(problem, rule=R2, way_out="return an answer, or None with nothing=True in its row") from None
    allowed = (*TYPES[skill.gives], type(None)) if skill.nothing else TYPES[skill.gives]
    if isinstance(value, allowed) and (skill.gives == "fork" or not isinstance(value, bool)):
        return value
    problem = f"{shown} gave {_short(value)}, not {skill.gives}"
    raise SpecError(problem, rule=R2, way_out=f"give {skill.gives}, or None with nothing=True in its row")


def _check_drawn_answers(universe: Universe, split: str) -> None:
    """R4 and R6: what is drawn for one prompt is in its dictionary, and as likely as that says."""
    answers = universe.answers_of(split)
    surplus, variance = 0.0, 0.0
    for index in range(ANSWERS):
        example = universe.example(split, 0, index)
        task, _ = universe.parse_prompt(example.prompt, split=split)[0]
        shares = answers.dictionary(task)
        total = math.fsum(shares.values())
        if abs(total - 1) > 1e-9 or dict(example.answers) != dict(shares):
            problem = f"P(answer | {example.prompt!r}) sums to {total:.6g}, or is another one when it is read back"
            raise SpecError(problem, rule=R6, way_out="add up every branch of every latent")
        drawn = Counter(
            answers.write(Sample(keyed_random("lint", split, index, draw)), task).text for draw in range(ANSWERS)
        )
        if strange := drawn.keys() - shares.keys():
            problem = f"{min(strange)!r} was drawn, but P(answer | {example.prompt!r}) has {_short(list(shares))}"
            raise SpecError(problem, rule=R6, way_out="draw with chance.latent alone, and add up its branches")
        kinds = len(shares)
        surplus += math.fsum((drawn[text] - ANSWERS * p) ** 2 / (ANSWERS * p) for text, p in shares.items()) - kinds + 1
        variance += 2 * (kinds - 1) + (math.fsum(1 / p for p in shares.values()) - kinds**2 - 2 * kinds + 2) / ANSWERS
    # Pearson's statistic, its mean and its variance exactly, over all prompts. The draws are the same in every run.
    if surplus > 8 * math.sqrt(max(variance, 0.0)) + 1e-6:
        problem = f"drawn answers are not as likely as P(answer | prompt) says (X2 is {surplus:.0f} above its mean)"
        raise SpecError(problem, rule=R6, way_out="give the latent's site the weights that it is drawn by")


def _check_same_bytes(universe: Universe) -> None:
    """R1: a universe made again under another global seed writes the same texts."""
    first, second = (_under(seed, lambda: _texts(universe)) for seed in (1, 2))
    for one, other in zip(first, second, strict=True):
        if one != other:
            problem = f"under another global seed {_short(one)} became {_short(other)}"
            raise SpecError(problem, rule=R1, way_out="draw nothing outside of choose and latent")


def _texts(universe: Universe) -> list[str]:
    made = Universe(universe.spec)
    examples = [made.example("train", 0, index) for index in range(ANSWERS)]
    return [example.prompt + example.completion for example in examples]


def _check_tokens(universe: Universe, reader: Tokenizer) -> None:
    """R7: the tokenizer gives every text back, and no token spells characters of two choices."""
    floor = TokenFloor(universe, reader)
    for split in ("train", *universe.transfer_splits()):
        for index in range(LINTED_EXAMPLES // 5):
            floor.encode(universe.example(split, 0, index))


def _short(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
