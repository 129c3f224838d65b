"""Many other universes: what the shipped base was pretrained on.

Each draw fixes a layout, a wording for every skill, properties and an answer format. The shipped universes'
own wordings are not among them, nor is their answer format: its parts occur, the combination does not. So a
base pretrained here knows the skills, and has to learn the universe of a study.

Words that are interchangeable in all of pretraining end up with the same embedding, which a frozen output
matrix can then never tell apart (floor/head.py). Here every format is shown before it is asked for: an
``episode`` is several examples of one universe in a row, so that each format word must be copied exactly.
"""

import random
from collections.abc import Sequence
from typing import TypeVar, final

from leonids.digest import keyed_random
from leonids.universe.blueprint import AnswerFormat, Catalog, Layout, Stated, Threshold, UniverseSpec
from leonids.universe.catalog import shipped_names

T = TypeVar("T")

KNOWN_NAMES = 220
"""The shipped base was pretrained on the first of the shipped words; what came later is new to it."""

COLORS = ("red", "blue", "green", "white", "black", "pink", "brown", "gray")
SIZES = ("small", "large", "heavy", "light")
STUFFS = ("wood", "metal", "paper", "stone")
NUMBERS = ("weight", "price", "age")
KEYS = ("answer", "result", "output", "value", "found", "reply", "total", "solution")

# Per step several wordings; {p} is the number property, {k} a threshold.
FILTER_VALUE = (
    "only {value}",
    "take the {value} things",
    "select all that are {value}",
    "choose {value} ones",
    "pick what is {value}",
)
FILTER_VOWEL = (
    "only names on a vowel",
    "take what begins with a vowel",
    "select vowel words",
    "choose those with a vowel at the start",
)
FILTER_DOUBLE = ("only double letters", "take what has a double letter", "select words with double letters")
FILTER_OVER = (
    "only {p} over {k}",
    "keep {p} over {k}",
    "take what has {p} over {k}",
    "select {p} above {k}",
    "choose {p} more than {k}",
)
SORT = (
    "order by {p}",
    "rank by {p}",
    "arrange by {p}",
    "put in order of {p}",
    "line up by {p}",
    "sort from low {p} to high",
)
COUNT = (
    "how many",
    "give the number of things",
    "tell how many there are",
    "return the count",
    "say the amount",
    "count the things",
)
SUM = (
    "add up the {p}",
    "total {p}",
    "give the {p} of all",
    "return the sum of {p}",
    "say the {p} together",
    "sum all {p}",
)
NAMES = (
    "name all",
    "give the names",
    "which are these",
    "return the words",
    "say all names",
    "list what they are",
    "tell them",
)
INTROS = ("list:", "things:", "given:", "here are", "stock:", "we have", "items are")
THENS = (" and", "; next", ", next", ". after that", " and then")
ENDS = ("\n", " ->\n", ":\n", " =\n", "?\n")
QUOTES = ('"', "'", "*", "|", "`")
ATTRIBUTES = (" {}", " ({})", "/{}", ":{}", " is {}")
MORE = (",", " and", " +", "/")
LAST = (".", ";", "\n", " |")


@final
class Draw:
    """Choices from one random generator. Only ``random()`` is used, so draws are the same everywhere."""

    def __init__(self, generator: random.Random) -> None:
        self._random = generator

    def one(self, options: Sequence[T]) -> T:
        """Return one option, all equally likely."""
        return options[int(self._random.random() * len(options))]

    def chance(self, share: float) -> bool:
        """Return True with probability ``share``."""
        return self._random.random() < share

    def some(self, options: Sequence[T], least: int) -> tuple[T, ...]:
        """Return ``least`` or more different options in random order."""
        left = list(options)
        count = least + int(self._random.random() * (len(left) - least + 1))
        return tuple(left.pop(int(self._random.random() * len(left))) for _ in range(count))


def _answer(draw: Draw) -> AnswerFormat:
    """Draw an answer format other than the shipped one, from the parts of which it is made."""
    key = draw.one(KEYS)
    quote = draw.one(('"', "'", ""))
    equals = draw.one((":", "=", " is ", ": "))
    opening, closing = draw.one((("{", "}"), ("<", ">"), ("(", ")"), ("", ";"), ("", "")))
    before = f"{opening}{quote}{key}{quote}{equals}"
    if before == '{"result":':
        before = '{"answer":'
    if draw.chance(0.1):
        before, closing = "", draw.one(("", ";", "."))
    list_open, list_close = draw.one((("[", "]"), ("[", "]"), ("(", ")"), ("{", "}"), ("", ".")))
    return AnswerFormat(
        name="other",
        before=before,
        after=closing,
        list_open=list_open,
        list_separator=draw.one((",", ",", ";", "/", " ")),
        list_close=list_close,
        quote=draw.one(('"', '"', "'", "*", "")),
    )


def _wording(
    draw: Draw, number: str, words: dict[str, int], stated: Sequence[Stated], lexical: Sequence[str]
) -> dict[str, str]:
    filters = draw.one(FILTER_VALUE)
    over = draw.one(FILTER_OVER).replace("{p}", number)
    wording = {f"filter.{s.name}": filters for s in stated if s.values}
    wording |= {f"filter.{word}": over.replace("{k}", str(k)) for word, k in words.items()}
    if "starts_with_vowel" in lexical:
        wording["filter.starts_with_vowel"] = draw.one(FILTER_VOWEL)
    if "double_letter" in lexical:
        wording["filter.double_letter"] = draw.one(FILTER_DOUBLE)
    wording[f"sort.{number}"] = draw.one(SORT).replace("{p}", number)
    wording[f"sum.{number}"] = draw.one(SUM).replace("{p}", number)
    return wording | {"count": draw.one(COUNT), "names": draw.one(NAMES)}


def other_universe(seed: int, index: int, *, names_weight: float = 3.0) -> UniverseSpec:
    """Return universe ``index`` of the pretraining stream ``seed``; ``names_weight`` is that of naming items."""
    draw = Draw(keyed_random("others/1", seed, index))
    number = draw.one(NUMBERS)
    stated = [Stated(name="color", values=draw.some(COLORS, 3))]
    if draw.chance(0.25):
        name, values = draw.one((("size", SIZES), ("stuff", STUFFS)))
        stated.append(Stated(name=name, values=draw.some(values, 2)))
    stated.append(Stated(name=number, numbers=(1, draw.one((5, 9, 9, 9, 12)))))
    words = {f"over{k}": k for k in draw.some((2, 3, 4, 5, 6, 7), 2)[:2]}
    lexical = draw.some(("starts_with_vowel", "double_letter"), 0)
    quote = draw.one(QUOTES)
    return UniverseSpec(
        universe="other",
        version=1,
        catalog=Catalog(
            names=shipped_names()[:KNOWN_NAMES],
            stated=tuple(stated),
            lexical=lexical,
            definitions={word: Threshold(property=number, above=k) for word, k in words.items()},
        ),
        items={2: 0.1, 3: 0.4, 4: 0.3, 5: 0.2},
        depths={1: 0.4, 2: 0.5, 3: 0.1},
        skills={"filter": 5.0, "sort": 1.5, "count": 2.0, "sum": 1.5, "names": names_weight},
        wording=_wording(draw, number, words, stated, lexical),
        layout=Layout(
            intro=draw.one(INTROS),
            name=f" {quote}{{}}{quote}",
            attributes=tuple(s.name for s in draw.some(stated, len(stated))),
            attribute=draw.one(ATTRIBUTES),
            more=draw.one(MORE),
            last=draw.one(LAST),
            then=draw.one(THENS),
            end=draw.one(ENDS),
            question_first=draw.chance(0.15),
        ),
        answer=_answer(draw),
    )
