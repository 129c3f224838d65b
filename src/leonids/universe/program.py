"""Typed composition of skills to a depth, and its evaluation.

A pipeline is a sequence of steps; the last step asks, or forks into two steps that ask. At each step only
skills that fit what came before are offered, with their weights divided by the sum, so that nothing is ever
drawn and thrown away. The depth is a stop-or-go choice hidden in the choice of the step: asking stops.

Pairs of skills can be held out. Training then draws pipelines given that they have no such pair,
``transfer:composition`` given that they have one: the weight of an option is its own times the probability
that what follows it comes out right.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal, TypeAlias, final

from leonids.errors import SpecError
from leonids.universe.blueprint import UniverseSpec
from leonids.universe.catalog import Item, Things
from leonids.universe.chance import Site
from leonids.universe.skills import ASKS, ENDS, SKILLS, Kind, Meanings, Parameter, Skill
from leonids.universe.values import Value

LONG_ITEMS = 24
"""Lists that have so many items or more are worked on column by column; with fewer, that is no faster."""

PairRule: TypeAlias = Literal["any", "without", "with"]


@final
@dataclass(frozen=True, slots=True)
class Step:
    """One skill with its parameter; a fork has two branches, for where it holds and where it does not.

    ``text`` is the step in the canonical meaning of an example.
    """

    skill: Skill
    parameter: Parameter
    branches: tuple["Step", ...] = ()
    text: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        own = f"{self.skill.name}:{self.parameter.text}" if self.parameter.text else self.skill.name
        text = f"{own}({'|'.join(branch.text for branch in self.branches)})" if self.branches else own
        object.__setattr__(self, "text", text)


@lru_cache(maxsize=65_536)
def _item_text(item: Item) -> str:
    """Return an item in a meaning. Most universes have some thousand items, and each is in many examples."""
    return ",".join([item.name, *map(str, item.values)])


def _items_text(items: tuple[Item, ...]) -> str:
    """Return items in a meaning, those of a long list column by column: looking each of them up takes twice as long."""
    if len(items) < LONG_ITEMS:
        return ";".join(map(_item_text, items))
    names, values = zip(*items, strict=True)
    return ";".join(map(",".join, zip(names, *[map(str, column) for column in zip(*values, strict=True)], strict=True)))


@final
@dataclass(frozen=True, slots=True)
class Task:
    """What an example asks: the items, and the steps to do with them."""

    items: tuple[Item, ...]
    steps: tuple[Step, ...]

    @property
    def meaning(self) -> str:
        """The canonical key: items and pipeline, without wording or format. Splits are bins of its hash."""
        return f"{_items_text(self.items)}|{'>'.join([step.text for step in self.steps])}"

    def speaks_of(self, word: str) -> bool:
        """Return whether a step, or a branch of one, is about the property ``word``."""
        return any(s.parameter.of == word for step in self.steps for s in (step, *step.branches))


@final
@dataclass(frozen=True, slots=True)
class StepSite:
    """A choice of the next step: the site and, for each of its options, the step that it stands for.

    ``following`` are the sites that the options lead to: None where the pipeline ends. ``kind`` is what is given.
    """

    site: Site
    steps: tuple[Step, ...]
    kind: Kind
    following: tuple["StepSite | None", ...] = ()


@final
@dataclass(frozen=True, slots=True)
class State:
    """Where a pipeline stands: the step to come, what it is given, the last skill, whether a held-out pair was had.

    The last two are kept only where pairs are held out.
    """

    depth: int = 1
    kind: Kind = "items"
    last: str = ""
    done: bool = False


def stop_chances(depths: Mapping[int, float]) -> dict[int, float]:
    """Return P(stop at depth k | reached k) for a distribution of depths (a hazard)."""
    remaining, hazards = 1.0, {}
    deepest = max(depth for depth, share in depths.items() if share > 0)
    for depth in range(1, deepest + 1):
        share = depths.get(depth, 0.0)
        hazards[depth] = share / remaining if depth < deepest and share < remaining else float(share > 0)
        remaining -= share
    return hazards


def phrases_of(spec: UniverseSpec, skill: Skill, parameter: Parameter) -> tuple[tuple[str, float], ...]:
    """Return the wordings of a step with their shares, the values filled in.

    Raises ``SpecError`` where there is none, or where the shares of a paraphrase do not sum to 1.
    """
    key = f"{skill.name}.{parameter.of}" if parameter.of else skill.name
    dial = spec.disorder.paraphrase.get(key)
    if dial is not None:
        total = sum(phrasing.share for phrasing in dial)
        if not (abs(total - 1) <= 1e-9 and min(phrasing.share for phrasing in dial) > 0):
            raise SpecError(
                f"the shares of the paraphrases of {key!r} sum to {total:.6g}",
                rule="R5: shares are above 0 and sum to 1",
                way_out="divide each by their sum",
            )
        found = tuple((phrasing.phrase, phrasing.share) for phrasing in dial)
    elif key in spec.wording:
        wording = spec.wording[key]
        phrases = (wording,) if isinstance(wording, str) else wording
        found = tuple((phrase, 1 / len(phrases)) for phrase in phrases)
    else:
        raise SpecError(
            f"universe {spec.universe!r} has no wording for {key!r}",
            rule="each skill in use needs a phrase for each property it can be applied to",
            way_out=f"add {key}: to wording",
        )
    return tuple((p.replace("{value}", parameter.value).replace("{other}", parameter.other), w) for p, w in found)


Row: TypeAlias = tuple[str, Step, float]
"""A phrase, the step that it stands for, and its weight."""


def _step_site(name: str, kind: Kind, rows: list[Row]) -> StepSite:
    texts = tuple(f" {text}" for text, _, _ in rows)
    if len(set(texts)) < len(texts):
        twice = next(t for t in texts if texts.count(t) > 1)
        raise SpecError(
            f"the phrase {twice.strip()!r} stands for two different steps",
            rule="R3: a text has exactly one derivation",
            way_out="word one of them differently",
        )
    at = Site(name, texts, tuple(w for _, _, w in rows))
    return StepSite(at, tuple(step for _, step, _ in rows), kind)


@final
class Pipelines:
    """All pipelines of a universe as choices, one site for each state, and one for the branches of each kind."""

    def __init__(
        self, spec: UniverseSpec, things: Things, *, rule: PairRule = "any", least_depth: int = 1, prefix: str = ""
    ) -> None:
        self._spec = spec
        self._things = things
        self._rule = rule
        self._least_depth = least_depth
        self._plain = rule == "any" and least_depth == 1
        self._prefix = prefix
        self._stops = stop_chances(spec.depths)
        self._pairs = frozenset(spec.transfer.hold_out)
        self._rows: dict[tuple[int, Kind], list[Row]] = {}
        self._worths: dict[State, float] = {}
        self._collisions: dict[State, float] = {}
        self.sites: dict[State, StepSite] = {}
        self.branches: dict[Kind, StepSite] = {}
        if self._worth(State()) <= 0:
            raise SpecError(
                f"no pipeline has {least_depth} or more steps and is {rule} held-out pairs {sorted(self._pairs)}",
                rule="training and each transfer family need pipelines",
                way_out="change transfer.hold_out, or add a skill that goes on",
            )
        self._build(State())
        self.first = self._linked(State())

    def after(self, state: State, step: Step) -> State:
        """Return the state that ``step`` leads to."""
        if self._rule == "any":
            return State(state.depth + 1, step.skill.gives)
        done = state.done or f"{state.last}>{step.skill.name}" in self._pairs
        return State(state.depth + 1, step.skill.gives, step.skill.name, done)

    def _worth(self, state: State) -> float:
        """Return the probability that a pipeline in ``state`` obeys the rule in the end."""
        if self._plain:
            return 1.0
        if self._rule == "without" and state.done:
            return 0.0
        if state.kind in ENDS:
            obeyed = self._rule != "with" or state.done
            return float(obeyed and state.depth - 1 >= self._least_depth)
        if state not in self._worths:
            rows = self._rows_of(state.depth, state.kind)
            self._worths[state] = sum(w * self._worth(self.after(state, step)) for _, step, w in rows)
        return self._worths[state]

    def _build(self, state: State) -> None:
        if state in self.sites or state.kind in ENDS:
            return
        rows = self._rows_of(state.depth, state.kind)
        if not self._plain:
            whole = self._worth(state)
            valued = ((text, step, w * self._worth(self.after(state, step)) / whole) for text, step, w in rows)
            rows = [row for row in valued if row[2] > 0]
        name = f"{self._prefix}step{state.depth}.{state.kind}"
        if self._rule != "any":
            name += f".{state.last}.{'had' if state.done else 'none'}"
        self.sites[state] = _step_site(name, state.kind, rows)
        for step in {step.skill.name: step for _, step, _ in rows}.values():
            if step.skill.gives == "fork":
                self._build_branches(state.kind)
            self._build(self.after(state, step))

    def _linked(self, state: State) -> StepSite:
        """Give the site of ``state`` those that follow it, so that a walk needs no state."""
        at = self.sites[state]
        if not at.following:
            after = [None if step.skill.gives in ENDS else self.after(state, step) for step in at.steps]
            self.sites[state] = at = replace(at, following=tuple(s if s is None else self._linked(s) for s in after))
        return at

    def _build_branches(self, kind: Kind) -> None:
        if kind not in self.branches:
            rows = [row for row in self._weighted(max(self._stops), kind, asks=True) if row[1].skill.gives in ASKS]
            if not rows:
                raise SpecError(f"no skill can be a branch for {kind!r}", rule="a fork needs skills that ask")
            mass = sum(w for _, _, w in rows)
            self.branches[kind] = _step_site(
                f"{self._prefix}branch.{kind}", kind, [(text, step, w / mass) for text, step, w in rows]
            )

    def _rows_of(self, depth: int, kind: Kind) -> list[Row]:
        """Return what can come at a depth, weights summing to 1, as if no pair were held out."""
        if (depth, kind) in self._rows:
            return self._rows[depth, kind]
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
        rows: list[Row] = []
        for share, of, mass in ((stop, asking, total[True]), (1 - stop, going, total[False])):
            rows += [(text, step, share * w / mass) for text, step, w in of if share > 0]
        self._rows[depth, kind] = rows
        return rows

    def _weighted(self, depth: int, kind: Kind, *, asks: bool) -> list[Row]:
        rows: list[Row] = []
        for skill in SKILLS:
            weight = self._spec.skills.get(skill.name, 0.0)
            if weight <= 0 or kind not in skill.takes or (skill.gives in ENDS) != asks:
                continue
            if not asks and not self._can_end(depth + 1, skill.gives):
                continue
            parameters = skill.parameters(self._things)
            if not parameters:
                raise SpecError(
                    f"skill {skill.name!r} finds nothing to work on in the catalog",
                    rule="sort and sum need a stated number; filter needs a property; if needs lists of 2 or more",
                )
            mass = sum(w for _, w in parameters)
            for parameter, share in parameters:
                phrases = phrases_of(self._spec, skill, parameter)
                rows += [(p, Step(skill, parameter), weight * share / mass * part) for p, part in phrases]
        return rows

    def collision(self, state: State | None = None) -> float:
        """Return the probability that two pipelines drawn apart are the same, from ``state`` on."""
        state = state or State()
        if state not in self._collisions:
            at = self.sites[state]
            self._collisions[state] = math.fsum(
                weight * weight * self._collision_after(state, step)
                for step, weight in zip(at.steps, at.site.weights, strict=True)
            )
        return self._collisions[state]

    def _collision_after(self, state: State, step: Step) -> float:
        if step.skill.gives == "fork":
            return self.branches[state.kind].site.collision ** 2
        return 1.0 if step.skill.gives in ENDS else self.collision(self.after(state, step))

    def _can_end(self, depth: int, kind: Kind) -> bool:
        if depth > max(self._stops):
            return False
        return any(self._spec.skills.get(s.name, 0) > 0 and kind in s.takes and s.gives in ENDS for s in SKILLS)


def evaluate(task: Task, meanings: Meanings) -> Value:
    """Return the answer of ``task`` under ``meanings``."""
    items = task.items
    for step in task.steps[:-1]:
        items = step.skill.apply(items, step.parameter, meanings)  # type: ignore[assignment]
    last = task.steps[-1]
    answer = last.skill.apply(items, last.parameter, meanings)
    if last.branches:
        last = last.branches[0 if answer else 1]
        return last.skill.apply(items, last.parameter, meanings)
    return answer
