"""The skills: one pure function and one row each.

To add a skill, write a function ``(items, parameter, things) -> value`` and add a row to ``SKILLS``; give it
a phrase in a universe's ``wording`` and run ``leonids lint`` on that universe.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, final

from leonids.universe.blueprint import Threshold
from leonids.universe.catalog import Item, Things, stated_values

Kind: TypeAlias = Literal["items", "ranked", "number", "names"]
Value: TypeAlias = "tuple[Item, ...] | int | tuple[str, ...]"

ASKS: tuple[Kind, ...] = ("number", "names")
"""Kinds that are answers: a skill that gives one of them ends the pipeline."""


@final
@dataclass(frozen=True, slots=True)
class Parameter:
    """What a skill is applied to: a property and, for a stated property with values, the value asked for."""

    of: str = ""
    value: str = ""

    @property
    def text(self) -> str:
        """The parameter in the canonical meaning of an example."""
        return f"{self.of}={self.value}" if self.value else self.of


@final
@dataclass(frozen=True, slots=True)
class Meanings:
    """What the words of a universe mean while an answer is worked out."""

    things: Things
    definitions: Mapping[str, Threshold]


@final
@dataclass(frozen=True, slots=True)
class Skill:
    """One operation: what it takes and gives, which parameters it can have, and the function itself."""

    name: str
    takes: tuple[Kind, ...]
    gives: Kind
    parameters: Callable[[Things], tuple[tuple[Parameter, float], ...]]
    apply: Callable[[tuple[Item, ...], Parameter, Meanings], Value]


def holds(item: Item, parameter: Parameter, meanings: Meanings) -> bool:
    """Return whether ``item`` has the property, under the meanings in force."""
    name, things = parameter.of, meanings.things
    if name in things.lexical:
        return things.lexical[name](item.name)
    if name in meanings.definitions:
        threshold = meanings.definitions[name]
        return int(item.values[things.position[threshold.property]]) > threshold.above
    return str(item.values[things.position[name]]) == parameter.value


def _filter(items: tuple[Item, ...], parameter: Parameter, meanings: Meanings) -> Value:
    return tuple(item for item in items if holds(item, parameter, meanings))


def _sort(items: tuple[Item, ...], parameter: Parameter, meanings: Meanings) -> Value:
    position = meanings.things.position[parameter.of]
    return tuple(sorted(items, key=lambda item: item.values[position]))


def _count(items: tuple[Item, ...], parameter: Parameter, meanings: Meanings) -> Value:
    return len(items)


def _sum(items: tuple[Item, ...], parameter: Parameter, meanings: Meanings) -> Value:
    position = meanings.things.position[parameter.of]
    return sum(int(item.values[position]) for item in items)


def _names(items: tuple[Item, ...], parameter: Parameter, meanings: Meanings) -> Value:
    return tuple(item.name for item in items)


def _nothing(things: Things) -> tuple[tuple[Parameter, float], ...]:
    return ((Parameter(), 1.0),)


def _numbers(things: Things) -> tuple[tuple[Parameter, float], ...]:
    return tuple((Parameter(s.name), 1.0) for s in things.stated if s.numbers is not None)


def _predicates(things: Things) -> tuple[tuple[Parameter, float], ...]:
    """Every property weighs the same; a stated property's weight is shared by its values."""
    stated = tuple(
        (Parameter(s.name, value), 1.0 / len(s.values)) for s in things.stated if s.values for value in stated_values(s)
    )
    words = (*things.lexical, *things.definitions)
    return stated + tuple((Parameter(word), 1.0) for word in words)


SKILLS: tuple[Skill, ...] = (
    Skill("filter", ("items",), "items", _predicates, _filter),
    Skill("sort", ("items",), "ranked", _numbers, _sort),
    Skill("count", ("items",), "number", _nothing, _count),
    Skill("sum", ("items",), "number", _numbers, _sum),
    Skill("names", ("items", "ranked"), "names", _nothing, _names),
)
"""Sorting gives a ranked list, whose only further use is to name it: counting it would make sorting idle."""
