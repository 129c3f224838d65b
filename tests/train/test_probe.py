"""Promises of the probe: totals and counts that add up, equal to what the words say."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from leonids.records import ROLES
from leonids.train.batches import collate
from leonids.train.probe import METRICS, add_totals, observe, totals_of
from leonids.train.scoring import Head


def measured(seed: int, rows: int, make_tokens: Any, *, scope: Any = "all") -> tuple[Any, Any, list[Any]]:
    tokens = [make_tokens(seed + row) for row in range(rows)]
    batch = collate([[(one, scope) for one in tokens]], pad_id=0)
    torch.manual_seed(seed)
    head = Head(torch.randn(64, 8))
    hidden = torch.randn(len(batch.gold), 8) * 3
    return head.score(hidden, batch.gold), batch, tokens


@given(st.integers(0, 1000), st.integers(1, 5))
@settings(max_examples=30)
def test_role_totals_are_the_sums_that_the_words_say(make_tokens: Any, seed: int, rows: int) -> None:
    scores, batch, _ = measured(seed, rows, make_tokens)
    sums = observe(scores, batch, groups=torch.zeros(rows, dtype=torch.long), count=1)
    found = totals_of(sums.columns[0].tolist(), matched=float(sums.matched.sum()), examples=rows)
    gold = torch.exp(-scores.nats)
    for role, name in enumerate(ROLES):
        own = batch.roles == role
        right = own & scores.right
        wrong = own & ~scores.right
        expected = {
            "loss": (scores.nats[own], own),
            "floor": (batch.floor_nats[own], own),
            "token_accuracy": (scores.right[own].float(), own),
            "confidence": (scores.top[own], own),
            "gold_confidence": (gold[own], own),
            "confidence_right": (scores.top[right], right),
            "confidence_wrong": (scores.top[wrong], wrong),
            "brier": ((scores.top.double()[own] - scores.right.double()[own]).square(), own),
        }
        assert set(expected) == {metric.name for metric in METRICS}
        for metric, (values, chosen) in expected.items():
            if not chosen.any():
                assert name not in found.get(metric, {})
            else:
                total, count = found[metric][name]
                assert total == pytest.approx(values.double().sum().item(), abs=1e-6)
                assert count == int(chosen.sum())


@given(st.integers(0, 1000), st.integers(1, 5), st.sampled_from(["answer", "all"]))
@settings(max_examples=30)
def test_role_losses_add_up_to_the_loss_of_the_step(make_tokens: Any, seed: int, rows: int, scope: Any) -> None:
    scores, batch, _ = measured(seed, rows, make_tokens, scope=scope)
    sums = observe(scores, batch, groups=torch.zeros(rows, dtype=torch.long), count=1)
    found = totals_of(sums.columns[0].tolist(), matched=0.0, examples=rows)["loss"]
    total, count = (sum(cell[at] for cell in found.values()) for at in (0, 1))
    assert total / count == pytest.approx(scores.nats.mean().item(), abs=1e-5)


@given(st.integers(0, 1000), st.lists(st.integers(0, 2), min_size=1, max_size=5))
@settings(max_examples=30)
def test_groups_pool_to_the_whole(make_tokens: Any, seed: int, groups: list[int]) -> None:
    scores, batch, _ = measured(seed, len(groups), make_tokens)
    apart = observe(scores, batch, groups=torch.tensor(groups), count=3)
    whole = observe(scores, batch, groups=torch.zeros(len(groups), dtype=torch.long), count=1)
    parts = [
        totals_of(columns, matched=0.0, examples=groups.count(g)) for g, columns in enumerate(apart.columns.tolist())
    ]
    together = totals_of(whole.columns[0].tolist(), matched=0.0, examples=len(groups))
    pooled = add_totals(parts)
    for metric, roles in together.items():
        for role, (total, count) in roles.items():
            assert pooled[metric][role][0] == pytest.approx(total, abs=1e-6)
            assert pooled[metric][role][1] == count


@given(st.integers(0, 1000), st.integers(1, 5), st.sampled_from(["answer", "all"]))
@settings(max_examples=30)
def test_a_row_matches_when_every_answer_token_is_right_whatever_its_prompt(
    make_tokens: Any, seed: int, rows: int, scope: Any
) -> None:
    scores, batch, _ = measured(seed, rows, make_tokens, scope=scope)
    draw = torch.Generator().manual_seed(seed)
    scores.right.copy_(torch.rand(scores.right.shape, generator=draw) < 0.9)
    sums = observe(scores, batch, groups=torch.zeros(rows, dtype=torch.long), count=1)
    for row in range(rows):
        own = (batch.rows == row) & (batch.roles != 0)
        assert bool(sums.matched[row]) == bool(scores.right[own].all())
