"""The skills: one pure function and one row each.

To add a skill, write a function ``(items, parameter, meanings) -> value`` and add a row to ``SKILLS``; give it
a phrase in a universe's ``wording`` and run ``leonids lint`` on that universe.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, TypeAlias, final

from leonids.errors import SpecError
from leonids.universe.blueprint import Threshold
from leonids.universe.catalog import Item, Things
from leonids.universe.values import Hundredths, Value, record

Kind: TypeAlias = Literal["items", "ranked", "number", "decimal", "name", "names", "object", "fork"]
Items: TypeAlias = tuple[Item, ...]

ASKS: tuple[Kind, ...] = ("number", "names", "decimal", "name", "object")
"""Kinds that are answers: a skill that gives one of them ends the pipeline."""

ENDS: tuple[Kind, ...] = (*ASKS, "fork")
"""Kinds that end the main line: an answer, or a fork into two branches that each ask."""

LISTS: tuple[Kind, ...] = ("items", "ranked")
WIDEST_OBJECT = 6
"""Keys of an object at most: the key-order dial runs through all their orders."""


@final
@dataclass(frozen=True, slots=True)
class Parameter:
    """What a skill is applied to: a property, for one with values the value asked for, for a comparison two."""

    of: str = ""
    value: str = ""
    other: str = ""

    @property
    def text(self) -> str:
        """The parameter in the canonical meaning of an example."""
        values = f"{self.value}/{self.other}" if self.other else self.value
        return f"{self.of}={values}" if self.of and values else self.of or values


@final
@dataclass(frozen=True, slots=True)
class Meanings:
    """What the words of a universe mean while an answer is worked out."""

    things: Things
    definitions: Mapping[str, Threshold]


Parameters: TypeAlias = tuple[tuple[Parameter, float], ...]


@final
@dataclass(frozen=True, slots=True)
class Skill:
    """One operation: what it takes and gives, which parameters it can have, and the function itself.

    ``nothing`` says that the answer is null where there is nothing to ask of, such as the mean of no items.
    """

    name: str
    takes: tuple[Kind, ...]
    gives: Kind
    parameters: Callable[[Things], Parameters]
    apply: Callable[[Items, Parameter, Meanings], Value]
    nothing: bool = False


def holds(item: Item, parameter: Parameter, meanings: Meanings) -> bool:
    """Return whether ``item`` has the property, under the meanings in force."""
    name, things = parameter.of, meanings.things
    if name in things.lexical:
        return things.lexical[name](item.name)
    if name in meanings.definitions:
        threshold = meanings.definitions[name]
        return int(item.values[things.position[threshold.property]]) > threshold.above
    return things.value(item, name) == parameter.value


def _numbers_of(items: Items, parameter: Parameter, meanings: Meanings) -> tuple[int, ...]:
    position = meanings.things.position[parameter.of]
    return tuple(int(item.values[position]) for item in items)


def _values_of(items: Items, parameter: Parameter, meanings: Meanings) -> tuple[str, ...]:
    return tuple(meanings.things.value(item, parameter.of) for item in items)


def _filter(items: Items, parameter: Parameter, meanings: Meanings) -> Value:
    return tuple(item for item in items if holds(item, parameter, meanings))


def _exclude(items: Items, parameter: Parameter, meanings: Meanings) -> Value:
    return tuple(item for item in items if not holds(item, parameter, meanings))


def _sort(items: Items, parameter: Parameter, meanings: Meanings) -> Value:
    position = meanings.things.position[parameter.of]
    return tuple(sorted(items, key=lambda item: item.values[position]))


def _reverse(items: Items, parameter: Parameter, meanings: Meanings) -> Value:
    return items[::-1]


def _count(items: Items, parameter: Parameter, meanings: Meanings) -> Value:
    return len(items)


def _sum(items: Items, parameter: Parameter, meanings: Meanings) -> Value:
    return sum(_numbers_of(items, parameter, meanings))


def _least(items: Items, parameter: Parameter, meanings: Meanings) -> Value:
    return min(_numbers_of(items, parameter, meanings), default=None)


def _greatest(items: Items, parameter: Parameter, meanings: Meanings) -> Value:
    return max(_numbers_of(items, parameter, meanings), default=None)


def _mean(items: Items, parameter: Parameter, meanings: Meanings) -> Value:
    return Hundredths.of(sum(_numbers_of(items, parameter, meanings)), len(items)) if items else None


def _percentage(items: Items, parameter: Parameter, meanings: Meanings) -> Value:
    kept = sum(holds(item, parameter, meanings) for item in items)
    return Hundredths.of(100 * kept, len(items)) if items else None


def _names(items: Items, parameter: Parameter, meanings: Meanings) -> Value:
    return tuple(item.name for item in items)


def _upper(items: Items, parameter: Parameter, meanings: Meanings) -> Value:
    return tuple(item.name.upper() for item in items)


def _unique(items: Items, parameter: Parameter, meanings: Meanings) -> Value:
    return tuple(dict.fromkeys(_values_of(items, parameter, meanings)))


def _first(items: Items, parameter: Parameter, meanings: Meanings) -> Value:
    return next((item.name for item in items if holds(item, parameter, meanings)), None)


def _where(items: Items, parameter: Parameter, meanings: Meanings) -> Value:
    return next((place for place, item in enumerate(items, 1) if holds(item, parameter, meanings)), None)


def _group(items: Items, parameter: Parameter, meanings: Meanings) -> Value:
    has, lacks = _filter(items, parameter, meanings), _exclude(items, parameter, meanings)
    return record(
        {"true": _names(has, parameter, meanings), "false": _names(lacks, parameter, meanings)},  # type: ignore[arg-type]
        fixed=True,
    )


def _frequency(items: Items, parameter: Parameter, meanings: Meanings) -> Value:
    values = _values_of(items, parameter, meanings)
    return record({value: values.count(value) for value in values}, fixed=False)


def _compare(items: Items, parameter: Parameter, meanings: Meanings) -> Value:
    values = _values_of(items, parameter, meanings)
    first, second = values.count(parameter.value), values.count(parameter.other)
    more = None if first == second else parameter.value if first > second else parameter.other
    return record({"first": first, "second": second, "more": more}, fixed=True)


def _if(items: Items, parameter: Parameter, meanings: Meanings) -> Value:
    return len(items) > int(parameter.value)


def _nothing(things: Things) -> Parameters:
    return ((Parameter(), 1.0),)


def _numbers(things: Things) -> Parameters:
    return tuple((Parameter(s.name), 1.0) for s in things.stated if s.numbers is not None)


def _predicates(things: Things) -> Parameters:
    """Every property weighs the same; a weight is shared by the values of a property that has them."""
    valued = [(Parameter(name, value), 1.0 / len(values)) for name, values in things.valued.items() for value in values]
    stated = tuple(row for row in valued if row[0].of not in things.stored)
    stored = tuple(row for row in valued if row[0].of in things.stored)
    words = (*things.lexical, *things.definitions)
    return stated + tuple((Parameter(word), 1.0) for word in words) + stored


def _written_values(things: Things) -> Parameters:
    """Properties whose values are written into the answer."""
    for name, values in things.valued.items():
        wrong = [v for v in values if not (v.isascii() and v.isalpha() and v.islower())]
        if wrong or len(values) > WIDEST_OBJECT:
            raise SpecError(
                f"property {name!r} takes {wrong[:1] or len(values)}",
                rule=f"values that answers may hold are lower-case ASCII letters, at most {WIDEST_OBJECT} of them",
            )
    return tuple((Parameter(name), 1.0) for name in things.valued)


def _pairs(things: Things) -> Parameters:
    _written_values(things)
    rows = {name: tuple(combinations(values, 2)) for name, values in things.valued.items()}
    return tuple((Parameter(name, *pair), 1.0 / len(pairs)) for name, pairs in rows.items() for pair in pairs)


def _limits(things: Things) -> Parameters:
    return tuple((Parameter("", str(limit)), 1.0) for limit in range(1, things.most))


SKILLS: tuple[Skill, ...] = (
    Skill("filter", ("items",), "items", _predicates, _filter),
    Skill("sort", ("items",), "ranked", _numbers, _sort),
    Skill("count", ("items",), "number", _nothing, _count),
    Skill("sum", ("items",), "number", _numbers, _sum),
    Skill("names", LISTS, "names", _nothing, _names),
    Skill("exclude", ("items",), "items", _predicates, _exclude),
    Skill("reverse", LISTS, "ranked", _nothing, _reverse),
    Skill("upper", LISTS, "names", _nothing, _upper),
    Skill("unique", LISTS, "names", _written_values, _unique),
    Skill("first", LISTS, "name", _predicates, _first, nothing=True),
    Skill("where", LISTS, "number", _predicates, _where, nothing=True),
    Skill("group", LISTS, "object", _predicates, _group),
    Skill("compare", ("items",), "object", _pairs, _compare),
    Skill("min", ("items",), "number", _numbers, _least, nothing=True),
    Skill("max", ("items",), "number", _numbers, _greatest, nothing=True),
    Skill("mean", ("items",), "decimal", _numbers, _mean, nothing=True),
    Skill("percentage", ("items",), "decimal", _predicates, _percentage, nothing=True),
    Skill("frequency", ("items",), "object", _written_values, _frequency),
    Skill("if", LISTS, "fork", _limits, _if),
)
"""Sorting and reversing give a ranked list, offered only to skills for which its order matters (or, for ``if``,
whose branches may): counting it would make sorting idle."""
