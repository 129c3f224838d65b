"""Items and their properties: stated in the prompt, lexical (a function of the spelling), or stored in the weights."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import NamedTuple, final

from leonids.digest import digest_of, keyed_random
from leonids.errors import SpecError
from leonids.universe.blueprint import Catalog, Stated, Threshold, written

LEXICAL: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("starts_with_vowel", lambda word: word[0] in "aeiou"),
    ("ends_with_vowel", lambda word: word[-1] in "aeiou"),
    ("double_letter", lambda word: any(a == b for a, b in pairwise(word))),
    ("palindrome", lambda word: word == word[::-1]),
    ("plural", lambda word: word.endswith("s") and not word.endswith("ss")),
    ("gerund", lambda word: word.endswith("ing")),
    ("long", lambda word: len(word) > 6),
)
"""Properties that the spelling decides, and it alone: "plural" is an s at the end. To add one, add a row."""


class Item(NamedTuple):
    """One item of a prompt: its name and its stated values, in the catalog's order (numbers as whole numbers)."""

    name: str
    values: tuple[str | int, ...]


@final
@dataclass(frozen=True, slots=True)
class Things:
    """A catalog made ready: names, stated properties by position, lexical tests, definitions of words.

    ``valued`` are the properties that have one of a few values, stated before stored. ``stored[property][name]``
    are the universe's facts. ``most`` is the length of the longest list.
    """

    names: tuple[str, ...]
    stated: tuple[Stated, ...]
    position: Mapping[str, int]
    lexical: Mapping[str, Callable[[str], bool]]
    definitions: Mapping[str, Threshold]
    valued: Mapping[str, tuple[str, ...]]
    stored: Mapping[str, Mapping[str, str]]
    most: int

    def value(self, item: Item, name: str) -> str:
        """Return an item's value of a stated or stored property."""
        return self.stored[name][item.name] if name in self.stored else str(item.values[self.position[name]])


@cache
def shipped_names() -> tuple[str, ...]:
    """Return the shipped English words, lower case, in alphabetical order of none: the order is part of the data."""
    text = files("leonids.universe").joinpath("names.txt").read_text(encoding="ascii")
    return tuple(word for line in text.splitlines() if not line.startswith("#") for word in line.split())


def stated_values(stated: Stated) -> tuple[str, ...]:
    """Return the texts that a stated property can take, in order."""
    if stated.numbers is not None:
        return tuple(str(number) for number in range(stated.numbers[0], stated.numbers[1] + 1))
    return stated.values


def _check_stated(stated: Stated) -> None:
    if (stated.numbers is None) == (not stated.values):
        raise SpecError(
            f"stated property {stated.name!r} has values {list(stated.values)} and numbers {stated.numbers}",
            rule="a stated property has either values or numbers",
        )
    texts = stated_values(stated)
    if len(set(texts)) < 2 or len(set(texts)) < len(texts):
        raise SpecError(
            f"stated property {stated.name!r} takes {list(texts)}",
            rule="R3: it needs two or more different values",
            way_out="write each value once",
        )


def _names(catalog: Catalog) -> tuple[str, ...]:
    if (catalog.names is None) == (catalog.shipped_names is None):
        raise SpecError(
            "the catalog must have either names or shipped_names",
            way_out="write shipped_names: [0, 60] or a list of names",
        )
    names = catalog.names
    if names is None:
        first, last = catalog.shipped_names or (0, 0)
        if not 0 <= first < last <= len(shipped_names()):
            raise SpecError(
                f"shipped_names {[first, last]} is not a slice of the shipped list",
                rule=f"it holds {len(shipped_names())} names",
            )
        names = shipped_names()[first:last]
    wrong = [n for n in names if not (n.isascii() and n.isalpha() and n.islower())]
    if wrong or len(set(names)) < len(names):
        raise SpecError(
            f"names {wrong[:3] or 'that occur twice'} cannot be used",
            rule="a name is lower-case ASCII letters and occurs once",
        )
    return names


def knowledge_nats(catalog: Catalog) -> float:
    """Return what the weights must hold of a catalog's stored properties: items x ln(values), in nats."""
    return len(_names(catalog)) * math.fsum(math.log(len(stored.values)) for stored in catalog.stored)


def _facts(catalog: Catalog, names: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """Draw the stored properties. They are keyed by the catalog alone, so that arms share their facts."""
    key = digest_of("leonids/facts/1", written(catalog)) if catalog.stored else ""
    facts = {}
    for stored in catalog.stored:
        if len(set(stored.values)) < max(2, len(stored.values)):
            raise SpecError(
                f"stored property {stored.name!r} takes {list(stored.values)}",
                rule="it needs two or more different values",
            )
        points = {name: keyed_random(key, stored.name, name).random() for name in names}
        facts[stored.name] = {name: stored.values[int(at * len(stored.values))] for name, at in points.items()}
    return facts


def make_things(catalog: Catalog, *, most: int) -> Things:
    """Check a catalog and make it ready for lists of up to ``most`` items.

    Raises ``SpecError`` with the value, the rule and the way out.
    """
    valued = {p.name: p.values for p in catalog.stated if p.values} | {p.name: p.values for p in catalog.stored}
    properties = [p.name for p in catalog.stated] + [p.name for p in catalog.stored]
    properties += [*catalog.lexical, *catalog.definitions]
    twice = [name for name in properties if properties.count(name) > 1]
    if twice:
        raise SpecError(f"property {twice[0]!r} is there twice", rule="R3: one name, one property")
    names = _names(catalog)
    for stated in catalog.stated:
        _check_stated(stated)
    known = dict(LEXICAL)
    unknown = [name for name in catalog.lexical if name not in known]
    if unknown:
        raise SpecError(f"unknown lexical property {unknown[0]!r}", rule=f"known ones are {', '.join(known)}")
    numbers = {stated.name for stated in catalog.stated if stated.numbers is not None}
    for word, threshold in catalog.definitions.items():
        if threshold.property not in numbers:
            raise SpecError(
                f"{word!r} is defined by {threshold.property!r}",
                rule=f"a definition compares a stated number: {', '.join(sorted(numbers)) or 'there is none'}",
            )
    return Things(
        names=names,
        stated=catalog.stated,
        position={stated.name: i for i, stated in enumerate(catalog.stated)},
        lexical={name: known[name] for name in catalog.lexical},
        definitions=dict(catalog.definitions),
        valued=valued,
        stored=_facts(catalog, names),
        most=most,
    )
