"""How many adapters, rows and tokens go through a base at once: memory, and on a CPU the cache, set it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from torch import nn

from leonids.errors import UsageError
from leonids.spec import RunSpec
from leonids.train.bases import Base
from leonids.train.batches import bucketed
from leonids.train.stacked import target_names

CPU_BYTES = 2 << 30
"""Activations that a pass on a CPU may keep for its backward."""

CACHE_BYTES = 8 << 20
"""The widest activation of one layer: beyond it a stack on a CPU gets slower than one adapter at a time."""

FORWARD_TOKENS = 1536
"""Tokens of a pass without backward on a CPU: with fewer the weights are read too often, with more every activation is
read back from memory (nano: 6,000 tokens take 1.2 times as long; SmolLM2: 256 take 1.3 times as long)."""

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
    """Return the room for batches of ``batch_size`` rows of ``length`` tokens an adapter."""
    size = base.model.dtype.itemsize
    kept, wide = _kept_bytes(base), _inner(base)
    tokens = bucketed(length)
    on_cpu = base.device.type == "cpu"
    memory = CPU_BYTES if on_cpu else int(torch.cuda.mem_get_info(base.device)[0] * GPU_SHARE)
    most = max(tokens, memory // kept)
    cached = max(tokens, CACHE_BYTES // (wide * size)) if on_cpu else most
    return Room(
        adapters=max(1, min(most, cached) // (tokens * batch_size)),
        rows=max(1, min(batch_size, most // tokens)),
        forward_tokens=max(tokens, min(cached, FORWARD_TOKENS)) if on_cpu else 4 * most,
        mixed=tokens * batch_size < (SMALL_TOKENS if on_cpu else most // GPU_ADAPTERS),
    )


def check_memory(base: Base, runs: Sequence[RunSpec], *, length: int) -> None:
    """Refuse runs of which not even one row at a time has room beside all adapters. Raises ``UsageError``.

    An adapter's number costs itself, its gradient and AdamW's two moments. Where the free memory is unknown nothing
    is refused.
    """
    free = free_bytes(base.device)
    item = max(4, base.model.dtype.itemsize)
    layers = [base.model.get_submodule(name) for name in target_names(base.model, runs[0].adapter.targets)]
    ends = sum(layer.in_features + layer.out_features for layer in layers if isinstance(layer, nn.Linear))
    adapters = 4 * item * ends * sum(run.adapter.rank for run in runs)
    row = _kept_bytes(base) * bucketed(length)
    if free is not None and adapters + row > free:
        raise UsageError(
            f"{len(runs)} adapters take {adapters / 2**20:,.0f} MiB, and one row of {length} tokens {row / 2**20:,.0f}",
            rule=f"{free / 2**20:,.0f} MiB are free beside the base",
            way_out="train fewer runs in a pass, or with a smaller rank, shorter examples or a smaller base",
        )


def free_bytes(device: torch.device) -> int | None:
    """Return how much memory a device can still give; None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found = [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
        limit, used, parts = (Path(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current", "stat"))
        if limit.is_file() and (text := limit.read_text(encoding="ascii").strip()) != "max":
            # What files left in memory counts as used, and is given up when it is wanted.
            files = dict(line.split() for line in parts.read_text(encoding="ascii").splitlines())
            given = int(files.get("inactive_file", 0)) + int(files.get("active_file", 0))
            found.append(max(0, int(text) - int(used.read_text(encoding="ascii")) + given))
    except (OSError, ValueError, IndexError):
        return None
    return min(found, default=None)


def _inner(base: Base) -> int:
    config = base.model.config
    return int(getattr(config, "intermediate_size", None) or 4 * config.hidden_size)


def _kept_bytes(base: Base) -> int:
    """What a token leaves for the backward: about 14 d + 4 f numbers a layer (d width, f feed-forward width)."""
    config = base.model.config
    numbers = int(config.num_hidden_layers) * (14 * int(config.hidden_size) + 4 * _inner(base))
    return numbers * int(base.model.dtype.itemsize)
