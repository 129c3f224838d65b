"""Promises about the tasks: each near, mid or far alike often, each answer in one spelling or none."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leonids.gym.tasks import DISTANCES, TASKS, Task, read_decimals, read_number, read_word, read_words
from leonids.universe.blueprint import AnswerFormat
from leonids.universe.render import answer_text

DECIMAL = st.from_regex(r"-?[0-9]{1,3}(\.[0-9]{1,4})?", fullmatch=True)
WORD = st.from_regex(r"[A-Za-z]{1,9}", fullmatch=True)


def test_any_first_items_are_even_over_tasks_and_distances() -> None:
    assert len({task.name for task in TASKS}) == len(TASKS)
    for n in range(1, len(TASKS) + 1):
        counts = Counter(task.distance for task in TASKS[:n])
        assert max(counts.values()) - min(counts.get(name, 0) for name in DISTANCES) <= 1


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_task_says_what_it_shares_and_shows_a_form_of_its_own_kind(task: Task) -> None:
    assert task.why
    known = task.read(answer_in_its_spelling(task))
    assert type(known) is type(task.shown)
    assert answer_text(task.shown, AnswerFormat())


def answer_in_its_spelling(task: Task) -> str:
    if isinstance(task.shown, int):
        return "7"
    if isinstance(task.shown, str):
        return "abc"
    return "['1']" if task.read is read_decimals else "a, b"


@given(st.integers())
def test_a_whole_number_has_one_spelling(number: int) -> None:
    assert read_number(str(number)) == number
    for other in (f"+{number}", f"0{number}", f"{number}.0", f" {number}", f"{number}\n", f"{number:_}."):
        assert read_number(other) is None


@given(st.lists(DECIMAL, max_size=6))
def test_numbers_in_a_list_stay_as_they_are_written(numbers: list[str]) -> None:
    assert read_decimals(str(numbers)) == tuple(numbers)
    assert read_decimals(str(numbers).replace(", ", ",")) is None or len(numbers) < 2


@given(st.lists(WORD, min_size=1, max_size=6))
def test_words_are_read_as_they_are_listed(words: list[str]) -> None:
    assert read_words(", ".join(words)) == tuple(words)
    assert read_word(words[0]) == words[0]


@pytest.mark.parametrize(
    "text", ["", "naïve", "don't", "two words", "a,b", "[1]", "None", "1/2", "1\u0661", "['\u0663.0']"]
)
def test_what_has_more_than_one_spelling_is_not_read_as_a_number_or_a_list(text: str) -> None:
    assert read_number(text) is None
    assert read_decimals(text) is None
    assert text == "None" or read_word(text) is None
