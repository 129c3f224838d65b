"""From encoded examples to tensors without padding: the tokens of each adapter in one row, and who may see whom."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leonids.records import ROLES, LossScope

PROMPT = ROLES.index("prompt")

BUCKET = 8
"""Sizes are rounded up to a multiple of this: few different shapes reuse memory and kernels."""


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
    attention never looks at), ``from_rows`` ``[E, N]`` the way back. ``kept`` ``[E, M]`` are the flat places in
    ``[E, N]`` of the states that predict scored tokens, and ``at`` ``[K]`` the flat place in ``[E, M]`` of each;
    ``gold``, ``roles``, ``rows`` and ``floor_nats`` (float64) are ``[K]``.
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


def collate(rows: Sequence[Sequence[Scored]], *, pad_id: int, device: torch.device | None = None) -> Batch:
    """Return the batch of each adapter's ``rows``; all adapters have the same number of them."""
    flat = [row for own in rows for row in own]
    lengths = [[len(tokens.ids) for tokens, _ in own] for own in rows]
    most = bucketed(max(sum(own) for own in lengths))
    longest = bucketed(max(max(own) for own in lengths))
    ids, positions = np.full((len(rows), most), pad_id), np.zeros((len(rows), most), dtype=np.int64)
    to_rows = np.zeros((len(flat), longest), dtype=np.int64)
    from_rows = np.zeros((len(rows), most), dtype=np.int64)
    parts: list[tuple[NDArray[Any], ...]] = []
    for e, own in enumerate(lengths):
        start, row = 0, e * len(own)
        # What is left of an adapter's row repeats its own first token: nothing crosses between adapters.
        from_rows[e] = row * longest
        for length, (tokens, scope) in zip(own, rows[e], strict=True):
            span = np.arange(length)
            ids[e, start : start + length] = tokens.ids
            positions[e, start : start + length] = span
            to_rows[row] = e * most + start
            to_rows[row, :length] += span
            from_rows[e, start : start + length] = row * longest + span
            parts.append(_scored(tokens, scope, row=row, start=e * most + start))
            start, row = start + length, row + 1
    places, *columns = (np.concatenate(column) for column in zip(*parts, strict=True))
    kept, at = _kept(places, adapters=len(rows), tokens=most)
    found = [ids, positions, to_rows, from_rows, kept, at, *columns]
    return Batch(*(on_device(array, device) for array in found))


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


def _scored(tokens: Tokens, scope: LossScope, *, row: int, start: int) -> tuple[NDArray[Any], ...]:
    roles = np.asarray(tokens.roles, dtype=np.int64)
    chosen = np.ones(len(roles), dtype=bool) if scope == "all" else roles != PROMPT
    chosen[0] = False
    where = np.flatnonzero(chosen)
    ids, floor = np.asarray(tokens.ids, dtype=np.int64), np.asarray(tokens.floor_nats, dtype=np.float64)
    return start + where - 1, ids[where], roles[where], np.full(len(where), row), floor[where]


def bucketed(length: int) -> int:
    """Return ``length`` rounded up to a multiple of the bucket.

    >>> bucketed(1), bucketed(8), bucketed(61)
    (8, 8, 64)
    """
    return -(-length // BUCKET) * BUCKET


def by_length(lengths: Sequence[int], *, tokens: int) -> list[list[int]]:
    """Group indices into batches of at most ``tokens`` padded tokens, longest first, alike lengths together."""
    groups: list[list[int]] = []
    room = 0
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if room < 1:
            room = max(1, tokens // bucketed(lengths[index]))
            groups.append([])
        groups[-1].append(index)
        room -= 1
    return groups
