"""Promises of the data: a pure function of the index, shared by runs that see the same, refused where it cannot do."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leonids.errors import BaseError, SpecError
from leonids.spec import RunSpec
from leonids.train.bases import load_base
from leonids.train.data import check_row, open_streams


@pytest.fixture(scope="module")
def base(base_folder: Any) -> Any:
    return load_base(str(base_folder), dtype="float32", device="cpu")


@pytest.fixture(scope="module")
def stream(base: Any, run_spec: Callable[..., RunSpec]) -> Any:
    return open_streams([run_spec()], base)[0]


@given(step=st.integers(1, 200), size=st.integers(1, 8))
def test_a_batch_is_the_next_examples_whatever_was_drawn_before(stream: Any, step: int, size: int) -> None:
    rows = stream.batch(step, size)
    assert [row.example.index for row in rows] == list(range((step - 1) * size, step * size))
    fresh = stream.universe.example("train", stream.seed, rows[0].example.index)
    assert rows[0].example == fresh


@given(index=st.integers(0, 500), split=st.sampled_from(["train", "validation", "test"]))
def test_tokens_spell_the_example_and_end_with_the_end_token(stream: Any, base: Any, index: int, split: str) -> None:
    row = stream.row(split, index)
    ids = list(row.tokens.ids)
    assert base.decode(ids[1:-1]) == row.example.prompt + row.example.completion
    assert ids[-1] == base.eos_id
    assert sum(row.tokens.floor_nats) >= 0


def test_runs_that_see_the_same_examples_share_a_stream(run_spec: Callable[..., RunSpec], base: Any) -> None:
    first, second, third = open_streams([run_spec("a"), run_spec("b", rank=2), run_spec("c", data_seed=1)], base)
    assert first is second
    assert first is not third


def test_what_a_base_cannot_be_trained_on_is_refused(stream: Any, base: Any) -> None:
    row = stream.row("train", 0)
    empty = dataclasses.replace(row, example=dataclasses.replace(row.example, completion=""))
    with pytest.raises(SpecError, match="empty answer"):
        check_row(empty, base)
    with pytest.raises(BaseError, match="has 5 tokens"):
        check_row(row, dataclasses.replace(base, vocab=5))
    with pytest.raises(BaseError, match="reads at most 10"):
        check_row(row, dataclasses.replace(base, context_tokens=10))


def test_shuffled_answers_keep_prompts_and_held_out_examples_and_are_another_examples_own(
    run_spec: Callable[..., RunSpec], base: Any
) -> None:
    own, shuffled = open_streams([run_spec("a"), run_spec("b", answers="shuffled")], base)
    same = 0
    for index in range(64):
        true, other = own.row("train", index).tokens, shuffled.row("train", index).tokens
        at = true.prompt_tokens
        assert (other.ids[:at], other.roles[:at]) == (true.ids[:at], true.roles[:at])
        assert own.universe.parse_answer(base.decode(other.ids[at:-1])) is not None
        same += other.ids == true.ids
        assert own.row("test", index) == shuffled.row("test", index)
    # Answers are counts below 6, sums and names: two unrelated ones are alike about one time in eight.
    assert same < 32
