"""Skills: an answer is what the words of its prompt ask for, as canonical JSON."""

import json
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leonids.digest import canonical_json
from leonids.spec import load_universe
from leonids.universe.catalog import LEXICAL
from leonids.universe.skills import SKILLS
from leonids.universe.universe import Universe
from leonids.universe.values import Hundredths

WIDE = Universe(load_universe("wide"))
SPLITS = ("train", "test", *WIDE.transfer_splits())
INDEXES = st.integers(0, 2**40)

Rows = list[tuple[str, str, int]]
"""Name, color and weight of each item, as the prompt prints them."""

COLORS = "red|blue|green|white"
TESTS: tuple[tuple[str, Callable[[tuple[str, str, int], str], bool]], ...] = (
    (rf"(?:that is|being|the|is|percentage that is) ({COLORS})(?: ones)?", lambda row, word: row[1] == word),
    (r"(?:that )?start(?:s|ing)? with a vowel", lambda row, word: row[0][0] in "aeiou"),
    (r"(?:with|having) a double letter", lambda row, word: re.search(r"(.)\1", row[0]) is not None),
    (r"heavy", lambda row, word: row[2] > 5),
)


def asked(phrase: str) -> Callable[[tuple[str, str, int]], bool]:
    """The property that a phrase speaks of."""
    for pattern, test in TESTS:
        found = re.search(pattern, phrase)
        if found is not None:
            word = found[1] if found.groups() else ""
            return lambda row: test(row, word)
    raise AssertionError(phrase)


def rounded(value: Fraction) -> int | float:
    hundredths = (value * 100 + Fraction(1, 2)).__floor__()
    return hundredths // 100 if hundredths % 100 == 0 else hundredths / 100


def answered(phrase: str, rows: Rows) -> Any:
    """What a question in words asks of rows: written from the words alone, without the program."""
    weights = [weight for _, _, weight in rows]
    names = [name for name, _, _ in rows]
    colors = [color for _, color, _ in rows]
    plain: dict[str, Callable[[], Any]] = {
        "count them": lambda: len(rows),
        "sum the weights": lambda: sum(weights),
        "list the names": lambda: names,
        "list the names in capitals": lambda: [name.upper() for name in names],
        "list the colors that occur": lambda: sorted(set(colors), key=colors.index),
        "give the least weight": lambda: min(weights) if rows else None,
        "give the greatest weight": lambda: max(weights) if rows else None,
        "give the mean weight": lambda: rounded(Fraction(sum(weights), len(rows))) if rows else None,
        "count each color": lambda: {color: colors.count(color) for color in colors},
    }
    if phrase in plain:
        return plain[phrase]()
    if phrase.startswith("compare"):
        one, two = re.findall(COLORS, phrase)
        first, second = colors.count(one), colors.count(two)
        return {"first": first, "second": second, "more": one if first > second else two if second > first else None}
    test = asked(phrase)
    having = [name for name, row in zip(names, rows, strict=True) if test(row)]
    if phrase.startswith("name the first"):
        return having[0] if having else None
    if phrase.startswith("give the place"):
        return names.index(having[0]) + 1 if having else None
    if phrase.startswith("group by"):
        return {"true": having, "false": [name for name in names if name not in having]}
    assert phrase.startswith("give the percentage"), phrase
    return rounded(Fraction(100 * len(having), len(rows))) if rows else None


def solved(prompt: str) -> Any:
    """The answer of a prompt, read from its words."""
    listed, _, question = prompt.strip().partition("; ")
    rows = [(n, c, int(w)) for n, c, w in re.findall(r'"(\w+)" (\w+) (\d+)', listed)]
    *steps, last = question.split(", then ")
    for step in steps:
        if step.startswith("keep"):
            rows = [row for row in rows if asked(step)(row)]
        elif step.startswith("drop"):
            rows = [row for row in rows if not asked(step)(row)]
        else:
            rows = sorted(rows, key=lambda row: row[2]) if step == "sort by weight" else rows[::-1]
    fork = re.fullmatch(r"if there are more than (\d+), (.*), else (.*)", last)
    if fork is not None:
        last = fork[2] if len(rows) > int(fork[1]) else fork[3]
    return answered(last, rows)


@settings(max_examples=400)
@given(split=st.sampled_from(SPLITS), index=INDEXES)
def test_an_answer_is_what_the_words_of_its_prompt_ask_for(split: str, index: int) -> None:
    example = WIDE.example(split, 0, index)
    assert example.answer == {"result": solved(example.prompt)}


@settings(max_examples=200)
@given(split=st.sampled_from(SPLITS), index=INDEXES)
def test_an_answer_is_canonical_json_and_reads_back(split: str, index: int) -> None:
    example = WIDE.example(split, 0, index)
    assert example.completion.encode() == canonical_json(example.answer)
    assert WIDE.parse_answer(example.completion) == example.answer
    assert WIDE.parse_answer(json.dumps(example.answer, indent=2)) == example.answer


def test_the_wide_universe_asks_for_every_skill() -> None:
    seen: set[str] = set()
    for index in range(600):
        for split in ("train", "transfer:related"):
            seen |= set(str(WIDE.example(split, 0, index).tags["pipeline"]).split(">"))
    assert seen == {skill.name for skill in SKILLS}


@given(part=st.integers(0, 10**6), whole=st.integers(1, 10**4))
def test_a_mean_is_its_nearest_hundredth_with_one_text(part: int, whole: int) -> None:
    value = Hundredths.of(part, whole)
    assert abs(Fraction(value.count, 100) - Fraction(part, whole)) <= Fraction(1, 200)
    assert canonical_json(json.loads(value.text)) == value.text.encode()


@pytest.mark.parametrize(
    ("name", "yes", "no"),
    [
        ("starts_with_vowel", "apple", "table"),
        ("ends_with_vowel", "table", "drum"),
        ("double_letter", "kitten", "drum"),
        ("palindrome", "kayak", "apple"),
        ("plural", "boots", "glass"),
        ("gerund", "fishing", "drum"),
        ("long", "hexagon", "island"),
    ],
)
def test_the_spelling_decides_a_lexical_property(name: str, yes: str, no: str) -> None:
    test = dict(LEXICAL)[name]
    assert test(yes)
    assert not test(no)


def test_every_lexical_property_has_words_that_have_it_and_words_that_do_not() -> None:
    from leonids.universe.catalog import shipped_names

    for name, test in LEXICAL:
        having = sum(map(test, shipped_names()))
        assert 4 <= having <= len(shipped_names()) - 4, name
    assert len(set(shipped_names())) == len(shipped_names())
