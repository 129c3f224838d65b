"""The output head at the scored positions only: log-probabilities without keeping logits."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor
from transformers import PreTrainedModel

from leonids.errors import BaseError
from leonids.train.bases import output_layer

LOGITS_ROOM = 1 << 24
"""Logits that exist at one moment: rows go through the head in chunks of at most this many numbers."""

Bend = Callable[[Tensor], Tensor]


@final
@dataclass(frozen=True, slots=True)
class Scores:
    """Of K tokens: ``nats`` = -log p(gold) (differentiable), ``top`` = p(argmax), ``right`` = argmax is gold.

    ``best`` is the argmax.
    """

    nats: Tensor
    top: Tensor
    right: Tensor
    best: Tensor


@final
@dataclass(frozen=True, slots=True)
class Head:
    """A frozen linear head ``W`` ``[V, d]``; ``scale`` multiplies the logits, ``cap`` soft-caps them (0: none)."""

    weight: Tensor
    bias: Tensor | None = None
    scale: float = 1.0
    cap: float = 0.0

    def logits(self, hidden: Tensor) -> Tensor:
        """Return logits ``[K, V]`` in at least float32."""
        out = torch.nn.functional.linear(hidden, self.weight, self.bias)
        out = out if out.dtype == torch.float64 else out.float()
        if self.scale != 1.0:
            out = out * self.scale
        return torch.tanh(out / self.cap) * self.cap if self.cap else out

    def score(self, hidden: Tensor, gold: Tensor) -> Scores:
        """Score K tokens: ``hidden`` ``[K, d]`` predicts ``gold`` ``[K]``."""
        return Scores(*_Score.apply(hidden, gold, self))  # type: ignore[no-untyped-call]

    def pull_back(self, logits: Tensor, grad: Tensor) -> Tensor:
        """Return the gradient to the hidden states ``[K, d]`` of ``grad`` on ``logits`` (as returned above)."""
        if self.cap:
            grad = grad * (1 - (logits / self.cap) ** 2)
        if self.scale != 1.0:
            grad = grad * self.scale
        return grad.to(self.weight.dtype) @ self.weight


@final
class _Score(torch.autograd.Function):
    """Cross-entropy whose backward needs ``[K, d]`` numbers, not ``[K, V]``.

    The gradient of each token's nats to its own hidden state does not depend on what comes later, so it is taken
    at once, chunk by chunk, while the logits exist; the backward pass only scales it.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, gold: Tensor, head: Head) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        rows = max(1, LOGITS_ROOM // head.weight.shape[0])
        wants = ctx.needs_input_grad[0]
        kind = torch.float64 if hidden.dtype == torch.float64 else torch.float32
        nats = torch.empty(len(gold), dtype=kind, device=hidden.device)
        top, found = torch.empty_like(nats), torch.empty_like(gold)
        grads = torch.empty_like(hidden) if wants else None
        for start in range(0, len(gold), rows):
            part = slice(start, start + rows)
            logits, target = head.logits(hidden[part]), gold[part].unsqueeze(1)
            total = torch.logsumexp(logits, dim=1, keepdim=True)
            best, arg = logits.max(dim=1, keepdim=True)
            nats[part] = (total - logits.gather(1, target)).squeeze(1)
            top[part] = (best - total).exp().squeeze(1)
            found[part] = arg.squeeze(1)
            if grads is not None:
                slope = (logits - total).exp_()
                slope.scatter_add_(1, target, slope.new_full((1, 1), -1.0).expand_as(target))
                grads[part] = head.pull_back(logits, slope)
        if grads is not None:
            ctx.save_for_backward(grads)
        right = found == gold
        ctx.mark_non_differentiable(top, right, found)
        return nats, top, right, found

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None, None]:
        (grads,) = ctx.saved_tensors
        return grads * slopes[0].unsqueeze(1).to(grads.dtype), None, None


def linear_head(model: PreTrainedModel) -> Head:
    """Return the model's head as its configuration describes it, unchecked."""
    layer, config = output_layer(model), model.config
    divide = float(getattr(config, "logits_scaling", None) or 1.0)
    scale = float(getattr(config, "logit_scale", None) or 1.0) / divide
    cap = float(getattr(config, "final_logit_softcapping", None) or 0.0)
    return Head(layer.weight, layer.bias, scale=scale, cap=cap)


def head_of(model: PreTrainedModel) -> Head:
    """Return the model's head, checked once against the model's own logits.

    Raises ``BaseError`` for a head of another form.
    """
    head = linear_head(model)
    ids = torch.arange(min(8, head.weight.shape[0]), device=model.device).unsqueeze(0)
    with torch.no_grad():
        own = model(input_ids=ids, use_cache=False).logits[0].float()
        ours = head.logits(model.base_model(input_ids=ids, use_cache=False)[0][0]).float()
    if not torch.allclose(own, ours, rtol=1e-2, atol=1e-2):
        raise BaseError(
            f"the head of {type(model).__name__} is not a linear layer with a scale and a soft cap",
            rule=f"its logits differ from ours by up to {(own - ours).abs().max().item():.3g}",
            way_out="use the back end trl",
        )
    return head
