"""Items and their properties: stated in the prompt, or lexical (a function of the spelling)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import final

from leonids.errors import SpecError
from leonids.universe.blueprint import Catalog, Stated, Threshold

LEXICAL: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("starts_with_vowel", lambda word: word[0] in "aeiou"),
    ("ends_with_vowel", lambda word: word[-1] in "aeiou"),
    ("double_letter", lambda word: any(a == b for a, b in pairwise(word))),
)
"""Properties that the spelling decides. To add one, add a row."""


@final
@dataclass(frozen=True, slots=True)
class Item:
    """One item of a prompt: its name and its stated values, in the catalog's order (numbers as whole numbers)."""

    name: str
    values: tuple[str | int, ...]


@final
@dataclass(frozen=True, slots=True)
class Things:
    """A catalog made ready: names, stated properties by position, lexical tests, definitions of words."""

    names: tuple[str, ...]
    stated: tuple[Stated, ...]
    position: Mapping[str, int]
    lexical: Mapping[str, Callable[[str], bool]]
    definitions: Mapping[str, Threshold]


@cache
def shipped_names() -> tuple[str, ...]:
    """Return the shipped English nouns, lower case, in alphabetical order of none: the order is part of the data."""
    text = files("leonids.universe").joinpath("names.txt").read_text(encoding="ascii")
    return tuple(line for line in text.split() if not line.startswith("#"))


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
            f"stated property {stated.name!r} takes {list(texts)}", rule="it needs two or more different values"
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


def make_things(catalog: Catalog) -> Things:
    """Check a catalog and make it ready. Raises ``SpecError`` with the value, the rule and the way out."""
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
        names=_names(catalog),
        stated=catalog.stated,
        position={stated.name: i for i, stated in enumerate(catalog.stated)},
        lexical={name: known[name] for name in catalog.lexical},
        definitions=dict(catalog.definitions),
    )
