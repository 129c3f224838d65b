"""Promises of batches: every token once, nothing across rows, and the right tokens scored."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from leonids.records import ROLES
from leonids.train.bases import in_float32
from leonids.train.batches import BUCKET, PADDED, bucketed, collate, in_passes
from leonids.train.bodies import Body


class Simple:
    """A row of which every token is an answer's."""

    def __init__(self, ids: list[int]) -> None:
        self.ids, self.roles, self.floor_nats, self.prompt_tokens = ids, [3] * len(ids), [0.0] * len(ids), 1


@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(1, 4), st.sampled_from(["answer", "all"]))
def test_each_scored_token_is_predicted_from_the_place_before_it_in_its_own_row(
    make_tokens: Any, seed: int, adapters: int, rows: int, scope: Any
) -> None:
    own = [[make_tokens(seed + 10 * e + row) for row in range(rows)] for e in range(adapters)]
    batch = collate([[(tokens, scope) for tokens in group] for group in own], pad_id=0)
    flat = [tokens for group in own for tokens in group]
    expected = [
        (row, tokens.ids[at - 1], at - 1, tokens.ids[at], tokens.roles[at], tokens.floor_nats[at])
        for row, tokens in enumerate(flat)
        for at in range(1, len(tokens.ids))
        if scope == "all" or ROLES[tokens.roles[at]] != "prompt"
    ]
    places = batch.kept.flatten()[batch.at]
    ids, positions = batch.ids.flatten()[places], batch.positions.flatten()[places]
    columns = (batch.rows, ids, positions, batch.gold, batch.roles, batch.floor_nats)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == expected


@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(1, 4))
def test_rows_hold_their_own_tokens_padded_with_their_own_first(
    make_tokens: Any, seed: int, adapters: int, rows: int
) -> None:
    own = [[make_tokens(seed + 10 * e + row) for row in range(rows)] for e in range(adapters)]
    batch = collate([[(tokens, "all") for tokens in group] for group in own], pad_id=0)
    assert batch.ids.shape[1] % BUCKET == 0
    assert batch.to_rows.shape[1] % BUCKET == 0
    seen = batch.ids.flatten()[batch.to_rows].tolist()
    for row, tokens in zip(seen, (tokens for group in own for tokens in group), strict=True):
        # From the end token nothing is predicted.
        width = len(tokens.ids) - 1
        assert row[:width] == tokens.ids[:-1]
        assert set(row[width:]) <= {tokens.ids[0]}
    # There and back: a place of a row's token maps to itself.
    there = batch.to_rows.flatten()[batch.from_rows.flatten()]
    used = torch.unique(batch.to_rows)
    assert torch.equal(there[used], used)
    owner = batch.to_rows // batch.ids.shape[1]
    assert torch.equal(owner, torch.arange(adapters).repeat_interleave(rows).unsqueeze(1).expand_as(owner))


def test_working_without_padding_gives_the_states_of_padded_rows(make_model: Any, make_batches: Any) -> None:
    model = make_model().double()
    body = Body(model)
    assert body.ragged
    assert body.trims
    for rows in make_batches(adapters=3, steps=4, rows=3):
        for scope in ("answer", "all"):
            batch = collate([[(tokens, scope) for tokens in own] for own in rows], pad_id=0)
            found = []
            for body.ragged, body.trims in ((True, True), (True, False), (False, False)):
                found.append(body.states(batch))
            assert all(torch.allclose(states, found[-1], atol=1e-5) for states in found)


@pytest.mark.parametrize("scope", ["answer", "all"])
def test_sharing_what_rows_begin_with_changes_neither_states_nor_gradients(make_model: Any, scope: Any) -> None:
    model = make_model().double()
    body = Body(model)
    alike = [[7, 1, 2, 3, 4], [7, 1, 2, 5], [7, 1, 2, 3, 9, 9], [7, 4], [7, 1, 2, 3, 4]]
    rows = [[(Simple([*ids, 0]), scope) for ids in own] for own in (alike, [ids[::-1] for ids in alike])]
    states, gradients = [], []
    for share in (True, False):
        batch = collate(rows, pad_id=0, share=share)
        states.append(body.states(batch))
        model.zero_grad()
        states[-1].pow(3).sum().backward()
        gradients.append([p.grad.clone() for p in model.base_model.parameters()])
    assert len(torch.unique(batch.to_rows)) > len(torch.unique(collate(rows, pad_id=0).to_rows))
    torch.testing.assert_close(*states, rtol=0.0, atol=1e-6)
    for shared, apart in zip(*gradients, strict=True):
        # The model's norms compute in float32 whatever its weights are.
        largest = float(apart.abs().max())
        assert largest > 0
        torch.testing.assert_close(shared, apart, rtol=0.0, atol=1e-6 * largest)


def test_a_bfloat16_base_whose_sums_round_by_shape_works_without_padding(make_model: Any) -> None:
    model = make_model().bfloat16()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    places = {name: parameter.data_ptr() for name, parameter in model.named_parameters()}

    def round_by_shape(module: Any, given: Any, out: Any) -> Any:
        del module, given
        return out * (1 + 3 / out.shape[1]) if out.dtype == torch.bfloat16 else out

    model.base_model.norm.register_forward_hook(round_by_shape)
    body = Body(model)
    assert body.ragged
    assert body.trims
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())
    assert {name: parameter.data_ptr() for name, parameter in model.named_parameters()} == places


def test_a_base_that_runs_out_of_memory_on_its_way_to_float32_is_narrow_again(
    make_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model().bfloat16()
    widen, calls = torch.Tensor.float, iter(range(99))

    def short_of_memory(tensor: torch.Tensor) -> torch.Tensor:
        if next(calls) == 2:
            raise MemoryError
        return widen(tensor)

    monkeypatch.setattr(torch.Tensor, "float", short_of_memory)
    with pytest.raises(MemoryError), in_float32(model):
        pass
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_gradients_through_a_bfloat16_base_are_those_of_its_weights_in_float32(
    make_model: Any, make_batches: Any
) -> None:
    model = make_model().bfloat16()
    ((rows,),) = make_batches(adapters=1, steps=1, rows=6)
    batch = collate([[(tokens, "all") for tokens in rows]], pad_id=0)
    gradients = []
    for _ in ("bfloat16", "float32"):
        body = Body(model)
        assert body.ragged
        model.zero_grad()
        body.states(batch).float().pow(3).sum().backward()
        gradients.append({name: p.grad.float() for name, p in model.base_model.named_parameters()})
        model.float()
    narrow, wide = gradients
    for name, gradient in wide.items():
        assert float((narrow[name] - gradient).norm()) < 0.05 * float(gradient.norm()), name


def test_a_base_with_a_sliding_window_works_on_padded_rows(make_model: Any) -> None:
    model = make_model()
    model.config.sliding_window = 4
    assert not Body(model).ragged


ROWS = st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=60), min_size=1, max_size=30)


@given(ROWS, st.integers(0, 3), st.integers(1, 400))
def test_every_example_is_evaluated_once_and_no_pass_exceeds_the_room(
    rows: list[list[int]], tail: int, room: int
) -> None:
    # Another adapter's answers to the same prompts.
    both = [rows, [[*row, *[5] * (tail * (len(row) % 2))] for row in rows]]
    groups = in_passes(both, tokens=room)
    assert sorted(index for group in groups for index in group) == list(range(len(rows)))
    for group in groups:
        if len(group) > 1:
            for own in both:
                assert len({tuple(own[at][:n]) for at in group for n in range(1, len(own[at]) + 1)}) <= room
            longest = max(bucketed(len(own[at])) for own in both for at in group)
            assert len(group) * longest <= PADDED * room


def test_short_rows_are_not_padded_to_the_length_of_long_ones_that_begin_alike() -> None:
    rows = [[1, at, *[2] * (300 if at % 2 else 6)] for at in range(40)]
    groups = in_passes([rows], tokens=1000)
    padded = sum(len(group) * max(len(rows[at]) for at in group) for group in groups)
    assert padded <= 1.2 * sum(map(len, rows))


@given(ROWS)
def test_what_rows_begin_with_alike_is_there_once(rows: list[list[int]]) -> None:
    tokens = [Simple([*row, 0]) for row in rows]
    distinct = len({tuple(row[:n]) for row in rows for n in range(1, len(row) + 1)})
    shared = collate([[(one, "all") for one in tokens]], pad_id=0)
    assert len(torch.unique(shared.to_rows)) == distinct
    assert shared.ids.shape[1] == bucketed(distinct)
    apart = collate([[(one, "all") for one in tokens]], pad_id=0, share=False)
    assert len(torch.unique(apart.to_rows)) == sum(map(len, rows))
    for batch in (shared, apart):
        seen, width = batch.ids.flatten()[batch.to_rows].tolist(), batch.to_rows.shape[1]
        assert [row[: len(own)] for row, own in zip(seen, rows, strict=True)] == rows
        places = torch.arange(width).expand(len(rows), width)
        there = batch.positions.flatten()[batch.to_rows]
        assert all(torch.equal(there[i, : len(own)], places[i, : len(own)]) for i, own in enumerate(rows))
