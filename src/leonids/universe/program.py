"""Typed composition of skills to a depth, and its evaluation.

A pipeline is a sequence of steps; the last step asks. At each step only skills that fit what came before are
offered, with their weights divided by the sum, so that nothing is ever drawn and thrown away. The depth is a
stop-or-go choice hidden in the choice of the step: asking stops.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import final

from leonids.errors import SpecError
from leonids.universe.blueprint import UniverseSpec
from leonids.universe.catalog import Item, Things
from leonids.universe.chance import Site
from leonids.universe.skills import ASKS, SKILLS, Kind, Meanings, Parameter, Skill, Value


@final
@dataclass(frozen=True, slots=True)
class Step:
    """One skill with its parameter."""

    skill: Skill
    parameter: Parameter

    @property
    def text(self) -> str:
        """The step in the canonical meaning of an example."""
        return f"{self.skill.name}:{self.parameter.text}" if self.parameter.of else self.skill.name


@final
@dataclass(frozen=True, slots=True)
class Task:
    """What an example asks: the items, and the steps to do with them."""

    items: tuple[Item, ...]
    steps: tuple[Step, ...]

    @property
    def meaning(self) -> str:
        """The canonical key: items and pipeline, without wording or format. Splits are bins of its hash."""
        items = ";".join(",".join((item.name, *map(str, item.values))) for item in self.items)
        return f"{items}|{'>'.join(step.text for step in self.steps)}"


@final
@dataclass(frozen=True, slots=True)
class StepSite:
    """A choice of the next step: the site and, for each of its options, the step that it stands for."""

    site: Site
    steps: tuple[Step, ...]


def stop_chances(depths: Mapping[int, float]) -> dict[int, float]:
    """Return P(stop at depth k | reached k) for a distribution of depths (a hazard)."""
    remaining, hazards = 1.0, {}
    for depth in range(1, max(depths) + 1):
        share = depths.get(depth, 0.0)
        hazards[depth] = min(1.0, share / remaining) if depth < max(depths) else 1.0
        remaining -= share
    return hazards


def phrases_of(spec: UniverseSpec, skill: Skill, parameter: Parameter) -> tuple[str, ...]:
    """Return the wordings of a step, with the value filled in. Raises ``SpecError`` where there is none."""
    key = f"{skill.name}.{parameter.of}" if parameter.of else skill.name
    if key not in spec.wording:
        raise SpecError(
            f"universe {spec.universe!r} has no wording for {key!r}",
            rule="each skill in use needs a phrase for each property it can be applied to",
            way_out=f"add {key}: to wording",
        )
    wording = spec.wording[key]
    return tuple(w.replace("{value}", parameter.value) for w in ((wording,) if isinstance(wording, str) else wording))


@final
class Pipelines:
    """All pipelines of a universe as choices, one site for each (depth, kind so far)."""

    def __init__(self, spec: UniverseSpec, things: Things) -> None:
        self._spec = spec
        self._things = things
        self._stops = stop_chances(spec.depths)
        self.sites: dict[tuple[int, Kind], StepSite] = {}
        self._build(1, "items")

    @cached_property
    def last_depth(self) -> int:
        """The greatest depth."""
        return max(self._spec.depths)

    def _build(self, depth: int, kind: Kind) -> None:
        if (depth, kind) in self.sites:
            return
        stop = self._stops[depth]
        asking = self._weighted(depth, kind, asks=True)
        going = self._weighted(depth, kind, asks=False)
        total = {True: sum(w for _, _, w in asking), False: sum(w for _, _, w in going)}
        if (stop > 0 and not total[True]) or (stop < 1 and not total[False] and not total[True]):
            raise SpecError(
                f"at depth {depth} no skill fits a value of kind {kind!r}",
                rule="depths must be reachable with the skills given",
                way_out="add a skill or change depths",
            )
        if not total[False]:
            stop = 1.0
        options: list[tuple[str, Step, float]] = []
        for share, rows, mass in ((stop, asking, total[True]), (1 - stop, going, total[False])):
            options += [(text, step, share * w / mass) for text, step, w in rows if share > 0]
        texts = tuple(f" {text}" for text, _, _ in options)
        if len(set(texts)) < len(texts):
            twice = next(t for t in texts if texts.count(t) > 1)
            raise SpecError(
                f"the phrase {twice.strip()!r} stands for two different steps",
                rule="R3: a text has exactly one derivation",
                way_out="word one of them differently",
            )
        self.sites[depth, kind] = StepSite(
            Site(f"step{depth}.{kind}", texts, tuple(w for _, _, w in options)), tuple(step for _, step, _ in options)
        )
        for step in {step.skill.name: step for _, step, _ in options}.values():
            if step.skill.gives not in ASKS:
                self._build(depth + 1, step.skill.gives)

    def _weighted(self, depth: int, kind: Kind, *, asks: bool) -> list[tuple[str, Step, float]]:
        rows: list[tuple[str, Step, float]] = []
        for skill in SKILLS:
            weight = self._spec.skills.get(skill.name, 0.0)
            if weight <= 0 or kind not in skill.takes or (skill.gives in ASKS) != asks:
                continue
            if not asks and not self._can_end(depth + 1, skill.gives):
                continue
            parameters = skill.parameters(self._things)
            if not parameters:
                raise SpecError(
                    f"skill {skill.name!r} finds nothing to work on in the catalog",
                    rule="sort and sum need a stated number; filter needs a property",
                )
            mass = sum(w for _, w in parameters)
            for parameter, share in parameters:
                phrases = phrases_of(self._spec, skill, parameter)
                rows += [(p, Step(skill, parameter), weight * share / mass / len(phrases)) for p in phrases]
        return rows

    def _can_end(self, depth: int, kind: Kind) -> bool:
        if depth > max(self._spec.depths):
            return False
        return any(self._spec.skills.get(s.name, 0) > 0 and kind in s.takes and s.gives in ASKS for s in SKILLS)


def evaluate(task: Task, meanings: Meanings) -> Value:
    """Return the answer of ``task`` under ``meanings``: a number or names."""
    value: Value = task.items
    for step in task.steps:
        assert isinstance(value, tuple)
        value = step.skill.apply(value, step.parameter, meanings)  # type: ignore[arg-type]
    return value
