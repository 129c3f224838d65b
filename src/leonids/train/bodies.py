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
from transformers.masking_utils import AttentionMaskInterface
from transformers.modeling_utils import AttentionInterface

from leonids.train.batches import Batch, collate

RAGGED = "leonids_ragged"


def ragged_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **more: Any
) -> tuple[Tensor, None]:
    """Causal attention within the rows of ``more["batch"]``; ``query`` is ``[E, heads, N, head width]``."""
    del module, mask
    batch: Batch = more["batch"]
    rows, tokens = batch.to_rows.shape

    def apart(states: Tensor) -> Tensor:
        flat = states.transpose(1, 2).flatten(0, 1)
        return flat.index_select(0, batch.to_rows.flatten()).view(rows, tokens, *flat.shape[1:]).transpose(1, 2)

    seen = F.scaled_dot_product_attention(
        apart(query),
        apart(key),
        apart(value),
        is_causal=True,
        scale=more.get("scaling"),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    back = seen.transpose(1, 2).flatten(0, 1).index_select(0, batch.from_rows.flatten())
    return back.view(*batch.from_rows.shape, *back.shape[1:]), None


def no_mask(*_: Any, **__: Any) -> None:
    """Return no mask: the rows are the mask."""
    return


AttentionInterface.register(RAGGED, ragged_attention)
AttentionMaskInterface.register(RAGGED, no_mask)


@final
class Body:
    """The part of a causal language model before its head; ``ragged`` says whether it can work without padding."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.ragged = _looks_back_everywhere(model) and self._agrees()

    def states(self, batch: Batch) -> Tensor:
        """Return the final hidden states ``[K, d]`` of a batch's scored places, after the last norm."""
        if self.ragged:
            return self._ragged(batch).flatten(0, 1)[batch.at]
        return self._padded(batch).flatten(0, 1)[batch.from_rows.flatten()[batch.at]]

    def _ragged(self, batch: Batch) -> Tensor:
        config = self.model.config
        usual, config._attn_implementation = config._attn_implementation, RAGGED
        try:
            out: Tensor = self.model.base_model(
                input_ids=batch.ids, position_ids=batch.positions, use_cache=False, batch=batch
            )[0]
        finally:
            config._attn_implementation = usual
        return out

    def _padded(self, batch: Batch) -> Tensor:
        # Padding is on the right, so causal attention needs no mask.
        ids = batch.ids.flatten()[batch.to_rows]
        out: Tensor = self.model.base_model(input_ids=ids, use_cache=False)[0]
        return out

    def _agrees(self) -> bool:
        """Return whether both ways give the same states on three short rows; models differ in what they pass on."""
        batch = _trial(self.model)
        with torch.no_grad():
            ours = self._ragged(batch).flatten(0, 1)[batch.at]
            theirs = self._padded(batch).flatten(0, 1)[batch.from_rows.flatten()[batch.at]]
        return bool(torch.allclose(ours.float(), theirs.float(), rtol=1e-2, atol=1e-2))


def _looks_back_everywhere(model: PreTrainedModel) -> bool:
    config = model.config
    kinds = getattr(config, "layer_types", None) or ["full_attention"]
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    capped = getattr(config, "attn_logit_softcapping", None)
    return set(kinds) == {"full_attention"} and window is None and not capped and model._supports_attention_backend


@final
class _Trial:
    """Tokens of a trial row."""

    def __init__(self, length: int) -> None:
        self.ids = list(range(1, length + 1))
        self.roles = [3] * length
        self.floor_nats = [0.0] * length
        self.prompt_tokens = 1


def _trial(model: PreTrainedModel) -> Batch:
    lengths = [min(length, int(model.config.vocab_size) - 1) for length in (5, 9, 3)]
    return collate([[(_Trial(length), "answer") for length in lengths]], pad_id=0, device=model.device)
