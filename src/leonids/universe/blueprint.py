"""The written form of a universe: what its YAML says, as frozen records.

``spec.py`` validates the YAML against these records; nothing here is random and nothing is computed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

_STRICT: dict[str, Any] = {"extra": "forbid", "strict": True}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """A property printed beside each item: one of ``values``, or a whole number in ``numbers`` (both ends in)."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    name: str
    values: tuple[str, ...] = ()
    numbers: tuple[int, int] | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """The meaning of a word such as "heavy": the stated number ``property`` is above ``above``."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    property: str
    above: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """What items there are: ``names`` (words, or the shipped list's slice ``[from, to)``) and their properties."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    names: tuple[str, ...] | None = None
    shipped_names: tuple[int, int] | None = None
    stated: tuple[Stated, ...] = ()
    lexical: tuple[str, ...] = ()
    definitions: Mapping[str, Threshold] = field(default_factory=dict)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a prompt is laid out. ``{name}`` in ``item`` stands for the item's name; other fields for properties.

    Each field of ``item`` must be preceded by its own space or quote, which becomes part of the choice.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    intro: str = "items:"
    name: str = ' "{}"'
    attributes: tuple[str, ...] = ()
    attribute: str = " {}"
    more: str = ","
    last: str = ";"
    then: str = ", then"
    end: str = "\n"
    question_first: bool = False
    question_end: str = ";"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerFormat:
    """How an answer is written: ``before`` + value + ``after``; lists as open, quoted names, separator, close."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    name: str = "json"
    before: str = '{"result":'
    after: str = "}"
    list_open: str = "["
    list_separator: str = ","
    list_close: str = "]"
    quote: str = '"'


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FormatShare:
    """One format of the ``formats`` dial and the share of answers that use it."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    share: float
    format: AnswerFormat


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """The ``conflict`` dial: with probability ``share`` the word means ``other`` instead of its definition."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    word: str
    share: float
    other: Threshold


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Disorder:
    """The dials of inconsistency, drawn per example. All off in a consistent universe."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    formats: tuple[FormatShare, ...] = ()
    conflict: Conflict | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class UniverseSpec:
    """A universe, whole: everything that decides its texts and their probabilities.

    ``items`` and ``depths`` map a count to its probability. ``skills`` maps a skill to its weight.
    ``wording`` maps a skill (``count``) or a skill with its property (``filter.color``) to one phrase, or to
    several that are equally likely; ``{value}`` stands for the value asked for.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    universe: str
    version: int
    about: str = ""
    catalog: Catalog
    items: Mapping[int, float]
    depths: Mapping[int, float]
    skills: Mapping[str, float]
    wording: Mapping[str, str | tuple[str, ...]]
    layout: Layout = Layout()
    answer: AnswerFormat = AnswerFormat()
    disorder: Disorder = Disorder()
