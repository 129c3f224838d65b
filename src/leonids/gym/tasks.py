"""Which foreign tasks are asked, how far each is from LEO, and how an answer to it is read, exactly."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, final

from leonids.universe.values import Value

Distance: TypeAlias = Literal["near", "mid", "far"]

DISTANCES: tuple[Distance, ...] = ("near", "mid", "far")
"""``near``: a skill of LEO in other words. ``mid``: a list or a chain worked through item by item, by a step or from
facts that LEO does not teach. ``far``: algebra, number theory, an unknown rule, a search."""

UNKNOWN = "floor and distance from training unknown, since nobody knows the probabilities of these tasks"

_NUMBER = re.compile(r"0|-?[1-9][0-9]*")
_WORD = re.compile(r"[A-Za-z]+")
_WORDS = re.compile(r"[A-Za-z]+(?:, [A-Za-z]+)*")
_DECIMALS = re.compile(r"\[(?:'-?\d+(?:\.\d+)?'(?:, '-?\d+(?:\.\d+)?')*)?\]", re.ASCII)


def passed_over_line(reasons: Mapping[str, int]) -> str:
    """Return in words how many drawn items could not be asked, and why.

    >>> passed_over_line({"asked before": 2}), passed_over_line({})
    ('2 drawn items passed over (asked before 2)', 'no drawn item passed over')
    """
    each = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))
    return f"{sum(reasons.values())} drawn items passed over ({each})" if reasons else "no drawn item passed over"


def read_number(text: str) -> Value | None:
    """Return a whole number in its one spelling, else None.

    >>> read_number("-12"), read_number("012"), read_number("-0"), read_number("3.0")
    (-12, None, None, None)
    """
    return int(text) if _NUMBER.fullmatch(text) else None


def read_word(text: str) -> Value | None:
    """Return a word of ASCII letters, else None."""
    return text if _WORD.fullmatch(text) else None


def read_words(text: str) -> Value | None:
    """Return the words of ``first, second``, else None.

    >>> read_words("sun, Moon"), read_words("sun,Moon")
    (('sun', 'Moon'), None)
    """
    return tuple(text.split(", ")) if _WORDS.fullmatch(text) else None


def read_decimals(text: str) -> Value | None:
    """Return the numbers of ``['1.50', '-2']`` as they are written, else None: 1.50 is not 1.5.

    >>> read_decimals("['1.50', '-2']"), read_decimals("[]"), read_decimals("[1.5]")
    (('1.50', '-2'), (), None)
    """
    return tuple(re.findall(r"'([^']*)'", text)) if _DECIMALS.fullmatch(text) else None


@final
@dataclass(frozen=True, slots=True)
class Task:
    """One task of reasoning-gym with its default settings.

    ``read`` turns the task's own answer into a value, or None where that is not written in the one way expected;
    ``shown`` is a value of the same kind by which a prompt shows the form of an answer; ``why`` says what the task
    shares with LEO, which is what its distance rests on.
    """

    name: str
    distance: Distance
    read: Callable[[str], Value | None]
    shown: Value
    why: str


_SOME_NUMBER, _SOME_WORD = 10_000, "word"
_SOME_WORDS, _SOME_DECIMALS = ("first", "second"), ("1.5", "-20")

TASKS: tuple[Task, ...] = (
    Task("number_filtering", "near", read_decimals, _SOME_DECIMALS, "filter: numbers above or below another one"),
    Task("chain_sum", "mid", read_number, _SOME_NUMBER, "sum: a chain, with subtraction and more digits"),
    Task("simple_equations", "far", read_number, _SOME_NUMBER, "nothing but the digits: a linear equation"),
    Task("number_sorting", "near", read_decimals, _SOME_DECIMALS, "sort: by value, in both directions"),
    Task("leg_counting", "mid", read_number, _SOME_NUMBER, "sum: of facts that no prompt states"),
    Task("gcd", "far", read_number, _SOME_NUMBER, "nothing but the digits: a greatest common divisor"),
    Task("word_sorting", "near", read_words, _SOME_WORDS, "sort: by spelling"),
    Task("spell_backward", "mid", read_word, _SOME_WORD, "reverse: of letters instead of items"),
    Task("number_sequence", "far", read_number, _SOME_NUMBER, "nothing but the digits: the rule is not stated"),
    Task("letter_counting", "near", read_number, _SOME_NUMBER, "count: of one letter in a text"),
    Task("family_relationships", "mid", read_word, _SOME_WORD, "a chain of steps over what the prompt states"),
    Task("largest_island", "far", read_number, _SOME_NUMBER, "count: of what a search in a grid finds"),
)
"""Asked in turn: item i is of task i modulo their number, so any first n are even over tasks and distances.

Left out: tasks whose answers half of all guesses hit (syllogism), with several right answers or several spellings of
one (group_anagrams, knights_knaves, fractions), without an answer at times (propositional_logic), slow or not the same
twice (zebra_puzzles), and composites.
"""
