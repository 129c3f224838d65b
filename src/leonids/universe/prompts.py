"""The program of a prompt: items with what is stated of them, and a pipeline of steps, choice by choice."""

from bisect import insort
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
        self._layout = spec.layout
        self._things = things
        self._prefix = prefix
        self.pipelines = Pipelines(spec, things, rule=family.pairs, least_depth=family.least_depth, prefix=prefix)
        names = tuple(spec.layout.name.replace("{}", name) for name in things.names)
        self._name_site = Site(f"{prefix}name", names, tuple(1 / len(names) for _ in names))
        self._value_sites = tuple(self._value_site(attribute) for attribute in spec.layout.attributes)
        self._value_columns = tuple(
            (things.position[attribute], things.stated[things.position[attribute]])
            for attribute in spec.layout.attributes
        )
        self._more_sites = {
            count: site(f"{prefix}more{count}", {spec.layout.last: stop, spec.layout.more: 1 - stop})
            for count, stop in stop_chances(spec.items).items()
        }

    def _value_site(self, attribute: str) -> Site:
        stated = self._things.stated[self._things.position[attribute]]
        texts = tuple(self._layout.attribute.replace("{}", value) for value in stated_values(stated))
        return Site(f"{self._prefix}value.{attribute}", texts, tuple(1 / len(texts) for _ in texts))

    def sites(self) -> tuple[Site, ...]:
        """Return every place of the prompt where something is chosen."""
        steps = (at.site for at in (*self.pipelines.sites.values(), *self.pipelines.branches.values()))
        return (self._name_site, *self._value_sites, *self._more_sites.values(), *steps)

    def _item(self, chance: Chance, taken: list[int]) -> Item:
        """Draw an item whose name is not ``taken``, and add it to these, which are kept in rising order."""
        name = chance.choose(self._name_site, tuple(taken))
        insort(taken, name)
        values: list[str | int] = [""] * len(self._things.stated)
        for (position, stated), at in zip(self._value_columns, self._value_sites, strict=True):
            option = chance.choose(at)
            values[position] = option + stated.numbers[0] if stated.numbers else stated.values[option]
        return Item(self._things.names[name], tuple(values))

    def draw_items(self, chance: Chance) -> tuple[Item, ...]:
        """Run the program of the item list."""
        chance.lit(self._layout.intro)
        items: list[Item] = []
        taken: list[int] = []
        while True:
            items.append(self._item(chance, taken))
            at = self._more_sites[len(items)]
            if at.options[chance.choose(at)] == self._layout.last:
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
