"""From encoded examples to tensors without padding: the tokens of each adapter in one row, and who may see whom."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leonids.records import ROLES, LossScope

PROMPT = ROLES.index("prompt")

BUCKET = 8
"""Sizes are rounded up to a multiple of this: few different shapes reuse memory and kernels."""

PADDED = 2
"""How many padded tokens attention may see for each that the linear layers of a pass see."""


class Tokens(Protocol):
    """An encoded example: one entry a token; ``ids[0]`` is context and is never predicted."""

    @property
    def ids(self) -> Sequence[int]:
        """Token ids, the context token first and the end token last."""
        ...

    @property
    def roles(self) -> Sequence[int]:
        """Index in ``records.ROLES`` of each token."""
        ...

    @property
    def floor_nats(self) -> Sequence[float]:
        """Exact nats of each token under its universe."""
        ...

    @property
    def prompt_tokens(self) -> int:
        """Number of tokens before the answer, the context token included."""
        ...


@final
@dataclass(frozen=True, slots=True)
class Batch:
    """The tokens of E adapters, ``[E, N]``, example after example, and the K of them that are scored.

    Linear layers see ``ids`` and ``positions`` ``[E, N]``; attention sees rows: ``to_rows`` ``[B, T]`` is the flat
    place in ``[E, N]`` of each row's tokens (a row is padded on the right with its own first token, which causal
    attention never looks at; what rows begin with alike has one place), ``from_rows`` ``[E, N]`` a way back. ``kept``
    ``[E, M]`` are the flat places in ``[E, N]`` of the states that predict scored tokens, and ``at`` ``[K]`` the flat
    place in ``[E, M]`` of each; ``gold``, ``roles``, ``rows`` and ``floor_nats`` (float64) are ``[K]``.
    """

    ids: Tensor
    positions: Tensor
    to_rows: Tensor
    from_rows: Tensor
    kept: Tensor
    at: Tensor
    gold: Tensor
    roles: Tensor
    rows: Tensor
    floor_nats: Tensor

    @property
    def size(self) -> int:
        """Number of rows B."""
        return self.to_rows.shape[0]


Scored = tuple[Tokens, LossScope]
"""A row: its tokens, and which of them are scored: ``answer`` or ``all``."""


def collate(
    rows: Sequence[Sequence[Scored]], *, pad_id: int, device: torch.device | None = None, share: bool = True
) -> Batch:
    """Return the batch of each adapter's ``rows``; all adapters have the same number of them.

    What rows of an adapter begin with alike is there once, unless ``share`` is false: a causal model's states depend
    on what came before alone, and their gradients add up. The end token is left out: nothing is predicted from it.
    """
    own = [[tokens.ids[:-1] for tokens, _ in group] for group in rows]
    laid = [laid_out(group) if share else [(row, 0) for row in range(len(group))] for group in own]
    most = bucketed(
        max(sum(map(len, group)) - sum(n for _, n in order) for group, order in zip(own, laid, strict=True))
    )
    longest = bucketed(max(len(ids) for group in own for ids in group))
    ids, positions = np.full((len(rows), most), pad_id), np.zeros((len(rows), most), dtype=np.int64)
    to_rows = np.zeros((sum(map(len, rows)), longest), dtype=np.int64)
    from_rows = np.zeros((len(rows), most), dtype=np.int64)
    for e, order in enumerate(laid):
        start, first, before = 0, e * len(order), 0
        # What is left of an adapter's row repeats its own first token: nothing crosses between adapters.
        from_rows[e] = first * longest
        for i, shared in order:
            row, length = first + i, len(own[e][i])
            new, end = np.arange(shared, length), start + length - shared
            ids[e, start:end] = own[e][i][shared:]
            positions[e, start:end] = new
            from_rows[e, start:end] = row * longest + new
            to_rows[row, :shared] = to_rows[before, :shared]
            to_rows[row, shared:length] = e * most + np.arange(start, end)
            to_rows[row, length:] = to_rows[row, 0]
            start, before = end, row
    flat = [scored for group in rows for scored in group]
    parts = [_scored(tokens, scope, row=row, places=to_rows[row]) for row, (tokens, scope) in enumerate(flat)]
    places, *columns = (np.concatenate(column) for column in zip(*parts, strict=True))
    kept, at = _kept(places, adapters=len(rows), tokens=most)
    found = [ids, positions, to_rows, from_rows, kept, at, *columns]
    return Batch(*(on_device(array, device) for array in found))


def laid_out(rows: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """Return the rows' indices, rows that begin alike together, each with how many tokens the one before it has too.

    >>> laid_out([[7, 1, 2], [5, 1], [7, 1, 3, 4]])
    [(1, 0), (0, 0), (2, 2)]
    """
    order = sorted(range(len(rows)), key=lambda row: list(rows[row]))
    shared = [alike(rows[before], rows[row]) for before, row in pairwise(order)]
    return list(zip(order, [0, *shared], strict=True))


def alike(first: Sequence[int], second: Sequence[int]) -> int:
    """Return how many tokens two rows have alike before the first that differs."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((i for i, (one, other) in pairs if one != other), min(len(first), len(second)))


def on_device(values: NDArray[Any] | Sequence[float], device: torch.device | None) -> Tensor:
    """Return values as a tensor on a device, without waiting for what the device is doing."""
    tensor = torch.from_numpy(values) if isinstance(values, np.ndarray) else torch.tensor(values)
    if device is None or device.type == "cpu":
        return tensor
    # Only from pinned memory does a copy leave the host free to go on.
    return tensor.pin_memory().to(device, non_blocking=True)


def _kept(places: NDArray[np.int64], *, adapters: int, tokens: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    owner = places // tokens
    counts = np.bincount(owner, minlength=adapters)
    most = bucketed(int(counts.max()))
    slots = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)
    # What is left repeats an adapter's own first place: nothing crosses between adapters.
    kept = np.repeat(np.arange(adapters)[:, None] * tokens, most, axis=1)
    kept[owner, slots] = places
    return kept, owner * most + slots


def _scored(tokens: Tokens, scope: LossScope, *, row: int, places: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
    roles = np.asarray(tokens.roles, dtype=np.int64)
    chosen = np.ones(len(roles), dtype=bool) if scope == "all" else roles != PROMPT
    chosen[0] = False
    where = np.flatnonzero(chosen)
    ids, floor = np.asarray(tokens.ids, dtype=np.int64), np.asarray(tokens.floor_nats, dtype=np.float64)
    return places[where - 1], ids[where], roles[where], np.full(len(where), row), floor[where]


def bucketed(length: int) -> int:
    """Return ``length`` rounded up to a multiple of the bucket.

    >>> bucketed(1), bucketed(8), bucketed(61)
    (8, 8, 64)
    """
    return -(-length // BUCKET) * BUCKET


def in_passes(rows: Sequence[Sequence[Sequence[int]]], *, tokens: int) -> list[list[int]]:
    """Group indices of each adapter's ``rows`` into passes of at most ``tokens`` tokens an adapter.

    Rows of alike lengths that begin alike go together, and what they share counts once (``collate``). Attention pads
    rows to the longest: a pass has at most ``PADDED`` times ``tokens`` of padded ones. What is longer goes alone.
    """
    groups: list[list[int]] = []
    used = longest = 0
    lengths = [max(map(len, row)) for row in zip(*rows, strict=True)]
    # By doublings of length first: attention over rows of very different lengths costs more than sharing saves.
    for at in sorted(range(len(lengths)), key=lambda at: (lengths[at].bit_length(), list(rows[0][at]))):
        length = lengths[at]
        shared = min(alike(own[groups[-1][-1]], own[at]) for own in rows) if groups else 0
        longest = max(longest, bucketed(length))
        if not groups or used + length - shared > tokens or (len(groups[-1]) + 1) * longest > PADDED * tokens:
            groups.append([])
            used, longest, shared = 0, bucketed(length), 0
        groups[-1].append(at)
        used += length - shared
    return groups
