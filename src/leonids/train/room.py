"""How many adapters, rows and tokens go through a base at once: memory, and on a CPU the cache, set it."""

from dataclasses import dataclass
from typing import final

import torch

from leonids.train.bases import Base
from leonids.train.batches import bucketed

CPU_BYTES = 2 << 30
"""Activations that a pass on a CPU may keep for its backward."""

CACHE_BYTES = 8 << 20
"""The widest activation of one layer: beyond it a stack on a CPU gets slower than one adapter at a time."""

GPU_SHARE = 0.5
GPU_ADAPTERS = 8
SMALL_TOKENS = 256
"""An adapter's step below this many tokens costs mostly calls, so that padding ranks is cheaper than another pass."""


@final
@dataclass(frozen=True, slots=True)
class Room:
    """``adapters`` a chunk, ``rows`` of each a backward, tokens of a pass without backward; may ranks mix."""

    adapters: int
    rows: int
    forward_tokens: int
    mixed: bool


def room_for(base: Base, *, batch_size: int, length: int) -> Room:
    """Return the room for batches of ``batch_size`` rows of ``length`` tokens an adapter.

    A layer keeps about 14 d + 4 f numbers a token for its backward (d width, f feed-forward width).
    """
    config = base.model.config
    layers, width = int(config.num_hidden_layers), int(config.hidden_size)
    wide = int(getattr(config, "intermediate_size", None) or 4 * width)
    size = base.model.dtype.itemsize
    kept = layers * (14 * width + 4 * wide) * size
    tokens = bucketed(length)
    on_cpu = base.device.type == "cpu"
    memory = CPU_BYTES if on_cpu else int(torch.cuda.mem_get_info(base.device)[0] * GPU_SHARE)
    most = max(tokens, memory // kept)
    cached = max(tokens, CACHE_BYTES // (wide * size)) if on_cpu else most
    return Room(
        adapters=max(1, min(most, cached) // (tokens * batch_size)),
        rows=max(1, min(batch_size, most // tokens)),
        forward_tokens=cached if on_cpu else 4 * most,
        mixed=tokens * batch_size < (SMALL_TOKENS if on_cpu else most // GPU_ADAPTERS),
    )
