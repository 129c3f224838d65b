"""Promises of the head: the loss and gradient of plain cross-entropy, whatever the chunk."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from leonids.errors import BaseError
from leonids.train import scoring
from leonids.train.scoring import Head, head_of


@given(
    st.integers(1, 9), st.integers(2, 30), st.integers(1, 64), st.sampled_from([0.0, 3.0]), st.sampled_from([1.0, 0.4])
)
@settings(max_examples=40)
def test_scores_and_their_gradient_are_those_of_cross_entropy(
    count: int, vocab: int, room: int, cap: float, scale: float
) -> None:
    torch.manual_seed(count * 100 + vocab)
    weight = torch.randn(vocab, 5, dtype=torch.float64)
    bias = torch.randn(vocab, dtype=torch.float64)
    head = Head(weight, bias, scale=scale, cap=cap)
    hidden = torch.randn(count, 5, dtype=torch.float64, requires_grad=True)
    gold, slope = torch.randint(0, vocab, (count,)), torch.rand(count, dtype=torch.float64)
    logits = (hidden @ weight.T + bias) * scale
    logits = torch.tanh(logits / cap) * cap if cap else logits
    plain = torch.nn.functional.cross_entropy(logits, gold, reduction="none")
    before, scoring.LOGITS_ROOM = scoring.LOGITS_ROOM, room
    try:
        scores = head.score(hidden, gold)
    finally:
        scoring.LOGITS_ROOM = before
    probabilities = logits.softmax(dim=1)
    assert torch.allclose(scores.nats, plain)
    assert torch.allclose(scores.top, probabilities.max(dim=1).values)
    assert torch.equal(scores.best, logits.argmax(dim=1))
    assert torch.equal(scores.right, scores.best == gold)
    (ours,) = torch.autograd.grad(scores.nats, hidden, slope)
    (theirs,) = torch.autograd.grad(plain, hidden, slope)
    assert torch.allclose(ours, theirs)


def test_a_head_of_another_form_is_refused(make_model: Any) -> None:
    model = make_model()
    model.config.logit_scale = 2.0
    with pytest.raises(BaseError, match="logits differ"):
        head_of(model)
