"""The program of a prompt: items with what is stated of them, and a pipeline of steps, choice by choice."""

import math
from bisect import bisect_right, insort
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import chain, repeat
from typing import final

from leonids.errors import SpecError
from leonids.records import Emission
from leonids.universe.catalog import Item, Things, stated_values
from leonids.universe.chance import Chance, Sample, Site, emission_of, site
from leonids.universe.program import LONG_ITEMS, Pipelines, Step, StepSite, Task, stop_chances
from leonids.universe.splits import Family

_item = partial(tuple.__new__, Item)
"""An ``Item`` of the tuple of its fields, as ``emission_of`` makes an emission."""


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
        self._least = next(count for count, at in self._more_sites.items() if spec.layout.last in at.options)
        going_on = [at for at in self._more_sites.values() if spec.layout.more in at.options]
        self._going_on = tuple(at.emissions[at.options.index(spec.layout.more)] for at in going_on)
        self._name_nats = tuple(self._name_site.surprisal_nats(0, tuple(range(gone))) for gone in range(len(names)))

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
        if isinstance(chance, Sample):
            return self._sampled_items(chance) if self._least >= LONG_ITEMS else self._sampled_rows(chance)
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

    def _sampled_rows(self, chance: Sample) -> tuple[Item, ...]:
        """Do what ``draw_items`` does, without a call for each choice."""
        chance.lit(self._layout.intro)
        emissions, point, last = chance.emissions, chance.point, self._layout.last
        at, names, nats = self._name_site, self._things.names, self._name_nats
        values: list[str | int] = [""] * len(self._things.stated)
        items: list[Item] = []
        taken: list[int] = []
        while True:
            name = at.option_at(point(), taken)
            if taken:
                gone = len(taken)
                emissions.append(emission_of((at.options[name], at.name, name, gone, nats[gone])))
                insort(taken, name)
            else:
                emissions.append(at.emissions[name])
                taken = [name]
            for position, column, drawn in self._columns:
                option = bisect_right(column.cumulative, point())
                emissions.append(column.emissions[option])
                values[position] = drawn[option]
            items.append(_item((names[name], tuple(values))))
            more = self._more_sites[len(items)].drawn(point())
            emissions.append(more)
            if more.text == last:
                return tuple(items)

    def _sampled_items(self, chance: Sample) -> tuple[Item, ...]:
        """Do what ``draw_items`` does, column by column: a row takes one point for its name, each value, and its end.

        So an example of 143 items takes two thirds of the time that it takes choice by choice (LOG.md).
        """
        chance.lit(self._layout.intro)
        width, count = len(self._columns) + 2, self._least
        points = chance.points(width * count)
        while (end := self._more_sites[count].drawn(points[-1])).text != self._layout.last:
            points += chance.points(width)
            count += 1
        options, emissions = self._sampled_names(points[::width])
        values: list[Iterable[str | int]] = [()] * len(self._columns)
        rows: list[Iterable[Emission]] = [emissions]
        for column, (position, at, drawn) in enumerate(self._columns, 1):
            chosen = list(map(bisect_right, repeat(at.cumulative), points[column::width]))
            rows.append(map(at.emissions.__getitem__, chosen))
            values[position] = map(drawn.__getitem__, chosen)
        rows.append((*self._going_on[: count - 1], end))
        chance.emissions += chain.from_iterable(zip(*rows, strict=True))
        names = map(self._things.names.__getitem__, options)
        return tuple(map(_item, zip(names, zip(*values, strict=True) if values else repeat(()), strict=False)))

    def _sampled_names(self, points: Sequence[float]) -> tuple[list[int], list[Emission]]:
        """Return a different name for each point, all equally likely, with what choosing it emits."""
        at, left = self._name_site, list(range(len(self._things.names)))
        first = bisect_right(at.cumulative, points[0])
        options = [left.pop(first), *[left.pop(int(point * len(left))) for point in points[1:]]]
        nats = self._name_nats[: len(options)]
        texts, gone = map(at.options.__getitem__, options), range(len(options))
        emissions = list(map(emission_of, zip(texts, repeat(at.name), options, gone, nats, strict=False)))
        emissions[0] = at.emissions[first]
        return options, emissions

    def draw_steps(self, chance: Chance) -> tuple[Step, ...]:
        """Run the program of the pipeline."""
        steps: list[Step] = []
        at = self.pipelines.first
        while True:
            option = chance.choose(at.site)
            step, following = at.steps[option], at.following[option]
            if step.skill.gives == "fork":
                step = self._with_branches(chance, step, self.pipelines.branches[at.kind])
            steps.append(step)
            if following is None:
                return tuple(steps)
            at = following
            chance.lit(self._layout.then)

    def _with_branches(self, chance: Chance, fork: Step, at: StepSite) -> Step:
        holds = at.steps[chance.choose(at.site)]
        chance.lit(self._layout.otherwise)
        return Step(fork.skill, fork.parameter, (holds, at.steps[chance.choose(at.site)]))

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
