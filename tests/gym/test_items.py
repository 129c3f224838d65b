"""Promises about transfer:gym: the same items whoever asks, none twice, none dropped in silence, none half right."""

import json
from collections import Counter
from importlib import metadata
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leonids.errors import BaseError, MissingDependency
from leonids.gym import source
from leonids.gym.items import ASKED, NO_ANSWER, SHOWN, TRAINED, Items, marks
from leonids.gym.source import SPACING, ReasoningGym, stream_seed
from leonids.gym.tasks import TASKS
from leonids.spec import load_universe, shipped_universes
from leonids.universe.splits import GYM
from leonids.universe.universe import Universe

N = 5 * len(TASKS)
UNIVERSES = {name: Universe(load_universe(name)) for name in shipped_universes()}


@given(order=st.permutations(range(N)))
def test_an_item_does_not_depend_on_what_was_asked_before_it(
    order: list[int], make_source: Any, consistent: Universe
) -> None:
    repeating = make_source(questions=lambda task, seed, index: f"{task} {seed} {index // 3}")
    straight, mixed = (Items(consistent, repeating, seed=3) for _ in range(2))
    wanted = [straight.example(index) for index in range(N)]
    assert {index: mixed.example(index) for index in order} == dict(enumerate(wanted))
    assert straight.passed_over(N) == mixed.passed_over(N)


@given(every=st.integers(1, 5), n=st.integers(1, N))
def test_no_question_is_asked_twice_and_repeats_are_counted(
    every: int, n: int, make_source: Any, consistent: Universe
) -> None:
    items = Items(consistent, make_source(questions=lambda task, seed, index: f"{task} {index // every}"), seed=0)
    asked = [items.example(index).meaning for index in range(n)]
    assert len(set(asked)) == n
    rounds = [sum(1 for index in range(n) if TASKS[index % len(TASKS)] is task) for task in TASKS]
    assert items.passed_over(n) == (
        {} if every == 1 or n <= len(TASKS) else {ASKED: (every - 1) * sum(r - 1 for r in rounds)}
    )


def test_a_question_of_another_task_counts_as_asked(make_source: Any, consistent: Universe) -> None:
    items = Items(
        consistent, make_source(questions=lambda task, seed, index: "the same" if index == 0 else None), seed=0
    )
    asked = [items.example(index) for index in range(len(TASKS))]
    assert sum(one.prompt.startswith("the same\n") for one in asked) == 1
    assert items.passed_over(len(TASKS)) == {ASKED: len(TASKS) - 1}


def test_an_answer_that_is_absent_or_spelled_otherwise_is_counted_and_passed_over(
    make_source: Any, consistent: Universe
) -> None:
    odd = {0: None, 1: "about 3", 2: 3}
    items = Items(consistent, make_source(answers=lambda task, index, known: odd.get(index, known)), seed=0)
    first = [items.example(index) for index in range(len(TASKS))]
    assert all("number 3?" in example.prompt for example in first)
    assert items.passed_over(len(TASKS)) == {NO_ANSWER: 3 * len(TASKS)}


def test_a_prompt_of_the_universe_is_never_asked(make_source: Any, consistent: Universe) -> None:
    known = consistent.example("train", 0, 0).prompt
    items = Items(consistent, make_source(questions=lambda task, seed, index: known if index == 0 else None), seed=0)
    assert not any(known.rstrip() in items.example(index).prompt for index in range(len(TASKS)))
    assert items.passed_over(len(TASKS)) == {TRAINED: len(TASKS)}


def test_an_answer_that_its_own_prompt_shows_is_never_asked_for(make_source: Any, consistent: Universe) -> None:
    def shown(task: str, index: int, known: object) -> object:
        return "10000" if task == "chain_sum" and index == 0 else known

    items = Items(consistent, make_source(answers=shown), seed=0)
    assert items.example(1).completion not in items.example(1).prompt
    assert items.passed_over(2) == {SHOWN: 1}


def test_what_a_base_cannot_read_is_counted_and_where_nothing_fits_it_is_said(
    make_source: Any, consistent: Universe
) -> None:
    long = Items(consistent, make_source(), seed=0, unfit=lambda one: "too long" if "number 0?" in one.prompt else None)
    assert [long.example(index).index for index in range(len(TASKS))] == list(range(len(TASKS)))
    assert long.passed_over(len(TASKS)) == {"too long": len(TASKS)}
    never = Items(consistent, make_source(), seed=0, unfit=lambda _: "too long")
    with pytest.raises(BaseError, match=f"items of {TASKS[0].name} can be asked: the last one: too long"):
        never.example(0)


def test_an_item_names_its_case_and_the_version_it_comes_from(make_source: Any, consistent: Universe) -> None:
    items = Items(consistent, make_source(), seed=0)
    for index in range(N):
        example, task = items.example(index), TASKS[index % len(TASKS)]
        assert example.split == GYM
        assert example.tags == {"task": task.name, "distance": task.distance}
        assert json.loads(example.completion) == example.answer
        assert example.spans[-1].end == len(example.prompt + example.completion)
    assert Items(consistent, make_source(version="other"), seed=0).digest != items.digest


@st.composite
def edits(draw: st.DrawFn) -> tuple[str, int, str]:
    """One character replaced, put in or taken out, at a place that is taken modulo the text's length."""
    how = draw(st.sampled_from(["replace", "insert", "delete"]))
    return how, draw(st.integers(0, 200)), draw(st.one_of(st.sampled_from(' 0123456789.,"[]{}-eE'), st.characters()))


def edited(text: str, how: str, place: int, character: str) -> str:
    at = place % len(text)
    return text[:at] + {"replace": character, "insert": character + text[at], "delete": ""}[how] + text[at + 1 :]


@given(name=st.sampled_from(sorted(UNIVERSES)), index=st.integers(0, N - 1), edit=edits())
def test_an_answer_with_one_changed_character_never_scores(
    name: str, index: int, edit: tuple[str, int, str], make_source: Any
) -> None:
    universe = UNIVERSES[name]
    example = Items(universe, make_source(), seed=0).example(index)
    text = edited(example.completion, *edit)
    assert marks(text, example, universe)[1] is (text == example.completion)
    assert marks(example.completion, example, universe) == (True, True)


def test_a_tolerance_or_a_part_of_an_answer_scores_nothing(make_source: Any, consistent: Universe) -> None:
    by_task = {
        TASKS[i].name: Items(consistent, make_source(), seed=0).example(i + len(TASKS)) for i in range(len(TASKS))
    }
    assert by_task["number_sorting"].completion == '{"result":["-1","1.0"]}'
    wrong = ['{"result":["-1","1.9"]}', '{"result":["-1"]}', '{"result":["1.0","-1"]}', 'so {"result":["-1","1.0"]}']
    assert not any(marks(text, by_task["number_sorting"], consistent)[1] for text in wrong)
    assert marks(wrong[0], by_task["number_sorting"], consistent)[0], "the format alone is right"
    assert by_task["chain_sum"].completion == '{"result":1}'
    for text in ("1", '{"result":1.0}', '{"result":"1"}', '{"result":11}', '{"result":true}'):
        assert not marks(text, by_task["chain_sum"], consistent)[1]


def test_a_right_value_in_another_format_of_the_universe_is_right(make_source: Any) -> None:
    universe = UNIVERSES["formats"]
    example = Items(universe, make_source(), seed=0).example(1)
    assert len(universe.answers.formats) > 1
    for fmt in universe.answers.formats:
        assert marks(f"{fmt.before}0{fmt.after}", example, universe) == (True, True)


@given(pairs=st.sets(st.tuples(st.sampled_from([task.name for task in TASKS]), st.integers(-5, 1 << 41)), min_size=2))
def test_streams_begin_further_apart_than_anyone_draws(pairs: set[tuple[str, int]]) -> None:
    seeds = sorted(stream_seed(task, seed) for task, seed in pairs)
    assert min(b - a for a, b in pairwise(seeds)) >= SPACING == 10**9


@pytest.mark.parametrize("found", [None, "0.1.24"])
def test_without_the_package_the_extra_is_named(found: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if found is None:
            raise metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(source.metadata, "version", version)
    with pytest.raises(MissingDependency, match=r"pip install 'leonids\[reasoning-gym\]'") as raised:
        ReasoningGym()
    assert raised.value.exit_code == 4
    assert ("is not installed" if found is None else "0.1.24 is installed") in str(raised.value)


def test_every_distance_is_asked_alike_often(make_source: Any, consistent: Universe) -> None:
    items = Items(consistent, make_source(), seed=0)
    assert set(Counter(items.example(i).tags["distance"] for i in range(N)).values()) == {N // 3}
