"""Promises of batches: every token once, nothing across rows, and the right tokens scored."""

from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st

from leonids.records import ROLES
from leonids.train.batches import BUCKET, bucketed, by_length, collate
from leonids.train.bodies import Body


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
        width = len(tokens.ids)
        assert row[:width] == tokens.ids
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


def test_a_base_with_a_sliding_window_works_on_padded_rows(make_model: Any) -> None:
    model = make_model()
    model.config.sliding_window = 4
    assert not Body(model).ragged


@given(st.lists(st.integers(1, 60), min_size=1, max_size=50), st.integers(1, 400))
def test_every_example_is_evaluated_once_and_no_batch_exceeds_the_room(lengths: list[int], room: int) -> None:
    groups = by_length(lengths, tokens=room)
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    for group in groups:
        longest = max(bucketed(lengths[index]) for index in group)
        assert len(group) == 1 or len(group) * longest <= room
