"""The program of a prompt: items with what is stated of them, and a pipeline of steps, choice by choice."""

import math
from bisect import insort
from collections.abc import Sequence
from typing import final

from leonids.errors import SpecError
from leonids.universe.catalog import Item, Things, stated_values
from leonids.universe.chance import Chance, Site, site
from leonids.universe.program import Pipelines, State, Step, Task, stop_chances
from leonids.universe.skills import ENDS
from leonids.universe.splits import Family


@final
class Prompts:
    """The prompts of one family. Names of sites begin with ``prefix``, so that families can be told apart."""

    def __init__(self, family: Family, things: Things, *, prefix: str = "") -> None:
        spec = family.spec
        if max(spec.items) > len(things.names):
            raise SpecError(
                f"a list may have {max(spec.items)} items", rule=f"the catalog has only {len(things.names)} names"
            )
        unknown = set(spec.layout.attributes) ^ set(things.position)
        if unknown:
            raise SpecError(
                f"the layout's attributes and the stated properties differ in {sorted(unknown)}",
                rule="each stated property is printed once",
            )
        if spec.layout.more == spec.layout.last:
            raise SpecError(
                f"after an item the layout writes {spec.layout.more!r} both for more and for last",
                rule="R3: a text has exactly one derivation, so it must show whether a list goes on",
                way_out="write layout.last differently from layout.more",
            )
        self._layout = spec.layout
        self._things = things
        self._prefix = prefix
        self.pipelines = Pipelines(spec, things, rule=family.pairs, least_depth=family.least_depth, prefix=prefix)
        names = tuple(spec.layout.name.replace("{}", name) for name in things.names)
        self._name_site = Site(f"{prefix}name", names, tuple(1 / len(names) for _ in names))
        self._columns = tuple(self._column(attribute) for attribute in spec.layout.attributes)
        self._more_sites = {
            count: site(f"{prefix}more{count}", {spec.layout.last: stop, spec.layout.more: 1 - stop})
            for count, stop in stop_chances(spec.items).items()
        }

    def _column(self, attribute: str) -> tuple[int, Site, Sequence[str | int]]:
        """Return a stated property's place among the values, its site, and the value of each of its options."""
        position = self._things.position[attribute]
        stated = self._things.stated[position]
        texts = tuple(self._layout.attribute.replace("{}", value) for value in stated_values(stated))
        at = Site(f"{self._prefix}value.{attribute}", texts, tuple(1 / len(texts) for _ in texts))
        return position, at, range(stated.numbers[0], stated.numbers[1] + 1) if stated.numbers else stated.values

    def sites(self) -> tuple[Site, ...]:
        """Return every place of the prompt where something is chosen."""
        steps = (at.site for at in (*self.pipelines.sites.values(), *self.pipelines.branches.values()))
        return (self._name_site, *(at for _, at, _ in self._columns), *self._more_sites.values(), *steps)

    def collision(self) -> float:
        """Return the probability that two prompts drawn apart are the same: the sum of p^2 over all prompts, exactly.

        A product along each derivation, since a prompt has one; lists of each length are added up.
        """
        alike = math.prod(at.collision for _, at, _ in self._columns)
        total, same = 0.0, 1.0
        for count, more in self._more_sites.items():
            same *= alike / (len(self._things.names) - count + 1)
            stop = dict(zip(more.options, more.weights, strict=True)).get(self._layout.last, 0.0)
            total += same * stop**2
            same *= (1 - stop) ** 2
        return total * self.pipelines.collision()

    def draw_items(self, chance: Chance) -> tuple[Item, ...]:
        """Run the program of the item list: names that are not ``taken``, which are kept in rising order."""
        choose, names, last = chance.choose, self._things.names, self._layout.last
        values: list[str | int] = [""] * len(self._things.stated)
        chance.lit(self._layout.intro)
        items: list[Item] = []
        taken: list[int] = []
        while True:
            name = choose(self._name_site, tuple(taken))
            insort(taken, name)
            for position, at, drawn in self._columns:
                values[position] = drawn[choose(at)]
            items.append(Item(names[name], tuple(values)))
            more = self._more_sites[len(items)]
            if more.options[choose(more)] == last:
                return tuple(items)

    def draw_steps(self, chance: Chance) -> tuple[Step, ...]:
        """Run the program of the pipeline."""
        steps: list[Step] = []
        state = State()
        while True:
            at = self.pipelines.sites[state]
            step = at.steps[chance.choose(at.site)]
            if step.skill.gives == "fork":
                step = self._with_branches(chance, step, self.pipelines.branches[state.kind].site, state)
            steps.append(step)
            if step.skill.gives in ENDS:
                return tuple(steps)
            state = self.pipelines.after(state, step)
            chance.lit(self._layout.then)

    def _with_branches(self, chance: Chance, fork: Step, at: Site, state: State) -> Step:
        options = self.pipelines.branches[state.kind].steps
        holds = options[chance.choose(at)]
        chance.lit(self._layout.otherwise)
        return Step(fork.skill, fork.parameter, (holds, options[chance.choose(at)]))

    def draw_task(self, chance: Chance) -> Task:
        """Run the program of a whole prompt."""
        if self._layout.question_first:
            steps = self.draw_steps(chance)
            chance.lit(self._layout.question_end + " ")
            items = self.draw_items(chance)
        else:
            items = self.draw_items(chance)
            steps = self.draw_steps(chance)
        chance.lit(self._layout.end)
        return Task(items, steps)
