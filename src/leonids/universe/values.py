"""What an answer can be: a number, a name, names, an object, or nothing."""

from dataclasses import dataclass
from typing import TypeAlias, Union, final

from leonids.digest import Json
from leonids.universe.catalog import Item


@final
@dataclass(frozen=True, slots=True)
class Hundredths:
    """A mean or a percentage: a whole count of hundredths, so that it has one value and one text.

    The text has no trailing zeros, which makes it the number's canonical JSON (RFC 8785).

    >>> Hundredths.of(100, 3).text, Hundredths.of(5, 2).text, Hundredths.of(8, 2).text, Hundredths.of(1, 200).text
    ('33.33', '2.5', '4', '0.01')
    """

    count: int

    @classmethod
    def of(cls, part: int, whole: int) -> "Hundredths":
        """Return ``part / whole`` to the nearest hundredth, halves up; both are 0 or more."""
        return cls((200 * part + whole) // (2 * whole))

    @property
    def text(self) -> str:
        """The number as canonical JSON."""
        whole, rest = divmod(self.count, 100)
        return f"{whole}.{rest:02d}".rstrip("0").rstrip(".")


@final
@dataclass(frozen=True, slots=True)
class Record:
    """An object: keys with their values, in canonical order unless a dial has shuffled them.

    ``fixed`` keys belong to the question; others, such as the colors that occur, are part of the answer.
    """

    entries: tuple[tuple[str, "Value"], ...]
    fixed: bool


Value: TypeAlias = Union[tuple[Item, ...], tuple[str, ...], int, str, Hundredths, Record, None]


def record(entries: dict[str, "Value"], *, fixed: bool) -> Record:
    """Return an object with its keys in the order of RFC 8785, which for ASCII keys is that of their characters."""
    return Record(tuple(sorted(entries.items())), fixed)


def value_json(value: Value) -> Json:
    """Return an answer's value as JSON."""
    if isinstance(value, Record):
        return {key: value_json(inner) for key, inner in value.entries}
    if isinstance(value, Hundredths):
        return value.count // 100 if value.count % 100 == 0 else float(value.text)
    return list(value) if isinstance(value, tuple) else value
