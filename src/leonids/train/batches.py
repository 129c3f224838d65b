"""From encoded examples to tensors: ids ``[B, T]`` and the flat list of tokens that are scored."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, final

import numpy as np
import torch
from torch import Tensor

from leonids.records import ROLES, LossScope

PROMPT = ROLES.index("prompt")

BUCKET = 8
"""Lengths are rounded up to a multiple of this: batches of few different shapes reuse memory and kernels."""


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
    """Padded rows and the K tokens of them that are scored.

    ``ids`` is ``[B, T]``, padded on the right: with causal attention no mask is needed. ``at`` ``[K]`` is the flat
    position ``row * T + t`` of the hidden state that predicts the token; ``gold``, ``roles``, ``rows`` and
    ``floor_nats`` (float64) are ``[K]``.
    """

    ids: Tensor
    at: Tensor
    gold: Tensor
    roles: Tensor
    rows: Tensor
    floor_nats: Tensor

    @property
    def size(self) -> int:
        """Number of rows."""
        return self.ids.shape[0]


def collate(rows: Sequence[tuple[Tokens, LossScope]], *, pad_id: int, device: torch.device | None = None) -> Batch:
    """Return the batch of ``rows``; each row's scope says which of its tokens are scored (``answer`` or ``all``)."""
    length = bucketed(max(len(tokens.ids) for tokens, _ in rows))
    ids = np.full((len(rows), length), pad_id, dtype=np.int64)
    parts: list[tuple[np.ndarray, ...]] = []
    for row, (tokens, scope) in enumerate(rows):
        width = len(tokens.ids)
        ids[row, :width] = tokens.ids
        roles = np.asarray(tokens.roles, dtype=np.int64)
        scored = np.ones(width, dtype=bool) if scope == "all" else roles != PROMPT
        scored[0] = False
        where = np.flatnonzero(scored)
        floor = np.asarray(tokens.floor_nats, dtype=np.float64)
        parts.append((row * length + where - 1, ids[row, where], roles[where], np.full(len(where), row), floor[where]))
    columns = [torch.from_numpy(np.concatenate(column)).to(device) for column in zip(*parts, strict=True)]
    return Batch(torch.from_numpy(ids).to(device), *columns)


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
