"""A base's forward pass up to its head, with no work spent on padding.

Linear layers, norms and rotary positions act on tokens alone, so they get the tokens of an adapter in one row
``[E, N]``, example after example. Only attention needs rows: it takes its queries, keys and values apart into
``[B, T]``, looks back within each row, and puts the results back.
"""

from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.modeling_utils import AttentionInterface

from leonids.train.bases import in_float32
from leonids.train.batches import Batch, collate

RAGGED = "leonids_ragged"


def ragged_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **more: Any
) -> tuple[Tensor, None]:
    """Causal attention within the rows of ``more["batch"]``; ``query`` is ``[E, heads, N, head width]``."""
    del module, mask
    batch: Batch = more["batch"]
    rows, tokens = batch.to_rows.shape

    # On a CPU the backward pass of attention takes longer in bfloat16, up to seven times with short rows.
    wide = torch.float32 if query.dtype == torch.bfloat16 and query.requires_grad and query.is_cpu else query.dtype

    def apart(states: Tensor) -> Tensor:
        flat = states.transpose(1, 2).flatten(0, 1)
        found = flat.index_select(0, batch.to_rows.flatten()).to(wide)
        return found.view(rows, tokens, *flat.shape[1:]).transpose(1, 2)

    seen = F.scaled_dot_product_attention(
        apart(query),
        apart(key),
        apart(value),
        is_causal=True,
        scale=more.get("scaling"),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    back = seen.to(query.dtype).transpose(1, 2).flatten(0, 1).index_select(0, batch.from_rows.flatten())
    return back.view(*batch.from_rows.shape, *back.shape[1:]), None


# No mask is registered with it: the rows are the mask, and models then make none.
AttentionInterface.register(RAGGED, ragged_attention)


LAST_BLOCK = {"input_layernorm", "self_attn", "post_attention_layernorm", "mlp"}
"""The parts of a block whose second half may work on some of the tokens: it looks at no other token."""


@final
class Body:
    """The part of a causal language model before its head.

    ``ragged`` says whether it can work without padding, ``trims`` whether its last block can leave out tokens whose
    state nobody asks for once attention has seen them. Both are tried on three short rows, in float32 where memory
    holds it: models differ in what they pass on. A base that fails, or is too large for that, works on padded rows.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        layers = getattr(model.base_model, "layers", None)
        self.last = layers[-1] if layers is not None and len(layers) else None
        self.trims = self.last is not None and {name for name, _ in self.last.named_children()} == LAST_BLOCK
        self.ragged = _looks_back_everywhere(model) and self._agrees()
        if self.trims and not self.ragged:
            self.trims = False
            self.ragged = _looks_back_everywhere(model) and self._agrees()

    def states(self, batch: Batch) -> Tensor:
        """Return the final hidden states ``[K, d]`` of a batch's scored places, after the last norm."""
        if not self.ragged:
            return self._padded(batch)
        states = self._ragged(batch).flatten(0, 1)
        return states[batch.at] if self.trims else states[batch.kept.flatten()[batch.at]]

    def _ragged(self, batch: Batch) -> Tensor:
        config = self.model.config
        usual, config._attn_implementation = config._attn_implementation, RAGGED
        try:
            if self.trims and self.last is not None:
                self.last.forward = trimmed(self.last, batch.kept)
            out: Tensor = self.model.base_model(
                input_ids=batch.ids, position_ids=batch.positions, use_cache=False, batch=batch
            )[0]
        finally:
            config._attn_implementation = usual
            if self.last is not None:
                self.last.__dict__.pop("forward", None)
        return out

    def _padded(self, batch: Batch) -> Tensor:
        # Padding is on the right, so causal attention needs no mask.
        ids = batch.ids.flatten()[batch.to_rows]
        out: Tensor = self.model.base_model(input_ids=ids, use_cache=False)[0]
        return out.flatten(0, 1)[batch.from_rows.flatten()[batch.kept.flatten()[batch.at]]]

    def _agrees(self) -> bool:
        batch = _trial(self.model)
        self.ragged = True
        # In bfloat16 a real base's states differ by a tenth from one order of its sums to another.
        with torch.no_grad(), in_float32(self.model):
            ours, theirs = self.states(batch), self._padded(batch)
        return bool(torch.allclose(ours.float(), theirs.float(), rtol=1e-2, atol=1e-2))


def trimmed(block: Any, kept: Tensor) -> Any:
    """Return the forward pass of a last block whose second half works on the ``kept`` ``[E, M]`` places alone."""

    def forward(hidden_states: Tensor, **more: Any) -> Tensor:
        attended = hidden_states + block.self_attn(hidden_states=block.input_layernorm(hidden_states), **more)[0]
        states = attended.flatten(0, 1).index_select(0, kept.flatten()).view(*kept.shape, -1)
        out: Tensor = states + block.mlp(block.post_attention_layernorm(states))
        return out

    return forward


def _looks_back_everywhere(model: PreTrainedModel) -> bool:
    config = model.config
    kinds = getattr(config, "layer_types", None) or ["full_attention"]
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    capped = getattr(config, "attn_logit_softcapping", None)
    return set(kinds) == {"full_attention"} and window is None and not capped and model._supports_attention_backend


@final
class _Trial:
    """Tokens of a trial row."""

    def __init__(self, ids: list[int]) -> None:
        self.ids = ids
        self.roles = [3] * len(ids)
        self.floor_nats = [0.0] * len(ids)
        self.prompt_tokens = 1


def _trial(model: PreTrainedModel) -> Batch:
    # Two that begin alike, and one that does not.
    rows = [[1, 2, 3, 4, 5, 6], [1, 2, 3, 9, 8, 7, 6, 5, 4, 3], [6, 5, 4, 3]]
    most = int(model.config.vocab_size) - 1
    trials = [_Trial([min(token, most) for token in ids]) for ids in rows]
    return collate([[(trial, "answer") for trial in trials]], pad_id=0, device=model.device)
