"""The written form of a universe: what its YAML says, as frozen records.

``spec.py`` validates the YAML against these records; nothing here is random and nothing is computed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, ClassVar, Literal, final

from leonids.digest import Json

_STRICT: dict[str, Any] = {"extra": "forbid", "strict": True}

_LATER: dict[str, bool] = {"later": True}
"""Marks keys that came after universes had been published: at its default such a key is not part of a digest."""


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
class Stored:
    """A property in neither prompt nor spelling: the universe draws one of ``values`` for each name, once."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    name: str
    values: tuple[str, ...]


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
    stored: tuple[Stored, ...] = field(default=(), metadata=_LATER)


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
    otherwise: str = field(default=", else", metadata=_LATER)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerFormat:
    """How an answer is written: ``before`` + value + ``after``; lists as open, quoted names, separator, close.

    Objects are open, quoted key, ``key_end``, value, the lists' separator, close.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    name: str = "json"
    before: str = '{"result":'
    after: str = "}"
    list_open: str = "["
    list_separator: str = ","
    list_close: str = "]"
    quote: str = '"'
    object_open: str = field(default="{", metadata=_LATER)
    key_end: str = field(default=":", metadata=_LATER)
    object_close: str = field(default="}", metadata=_LATER)


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
    """The ``conflict`` dial: with probability ``share`` the word means ``other`` instead of its definition.

    Drawn for every example, which no one can learn, or once a ``run`` (a data seed), which is learnt.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    word: str
    share: float
    other: Threshold
    per: Literal["example", "run"] = field(default="example", metadata=_LATER)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """The ``noise`` dial: with probability ``share`` a number in ``numbers`` (both ends in) is another one of them."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    share: float
    numbers: tuple[int, int]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Phrasing:
    """One phrase of the ``paraphrase`` dial and the share of prompts that use it."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    share: float
    phrase: str


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """What training never shows, for the splits ``transfer:FAMILY``.

    ``hold_out`` are pairs of successive skills (``filter>sum``) that occur in ``transfer:composition`` alone.
    ``related`` are the weights of new skills. ``deeper`` and ``longer`` say how far beyond training's greatest
    depth and list the splits of that name go. ``renamed`` are the words of ``transfer:renamed``, one for each name of
    the catalog in its order; where absent they are chosen by spelling.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    hold_out: tuple[str, ...] = ()
    related: Mapping[str, float] = field(default_factory=dict)
    deeper: int = 2
    longer: int = 2
    renamed: tuple[str, ...] = field(default=(), metadata=_LATER)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Disorder:
    """The dials of inconsistency. All off in a consistent universe. ``key_order`` shuffles an object's keys."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    formats: tuple[FormatShare, ...] = ()
    conflict: Conflict | None = None
    noise: Noise | None = field(default=None, metadata=_LATER)
    key_order: bool = field(default=False, metadata=_LATER)
    paraphrase: Mapping[str, tuple[Phrasing, ...]] = field(default_factory=dict, metadata=_LATER)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class UniverseSpec:
    """A universe, whole: everything that decides its texts and their probabilities.

    ``items`` and ``depths`` map a count to its probability. ``skills`` maps a skill to its weight.
    ``wording`` maps a skill (``count``) or a skill with its property (``filter.color``) to one phrase, or to
    several that are equally likely; ``{value}`` and ``{other}`` stand for the values asked for.
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
    transfer: Transfer = field(default=Transfer(), metadata=_LATER)


def written(value: Any) -> Json:
    """Return a record of this page as JSON, keys as text: what a universe's identity is taken of."""
    if is_dataclass(value) and not isinstance(value, type):
        shown = ((f.name, getattr(value, f.name), f) for f in fields(value))
        return {name: written(inner) for name, inner, f in shown if not (f.metadata and inner in (f.default, {}))}
    if isinstance(value, Mapping):
        return {str(key): written(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [written(inner) for inner in value]
    return value  # type: ignore[no-any-return]
