"""What every step measures, from the log-probabilities the loss needs anyway: totals and counts by role."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, final

import torch
from torch import Tensor

from leonids.records import ROLES
from leonids.train.batches import PROMPT, Batch
from leonids.train.scoring import Scores

Totals: TypeAlias = dict[str, dict[str, list[float]]]
"""``totals[metric][role] == [total, count]``."""

COLUMNS = ("tokens", "right", "nats", "floor_nats", "top", "gold", "top_right", "miss_squared")


@final
@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: its ``total`` and ``count`` are sums of the named columns, signs included."""

    name: str
    unit: Literal["nats", "frac"]
    total: Mapping[str, int]
    count: Mapping[str, int]
    about: str


METRICS: tuple[Metric, ...] = (
    Metric("loss", "nats", {"nats": 1}, {"tokens": 1}, "-log p of the token"),
    Metric("floor", "nats", {"floor_nats": 1}, {"tokens": 1}, "nats of the token under its universe"),
    Metric("token_accuracy", "frac", {"right": 1}, {"tokens": 1}, "the most probable token is the token"),
    Metric("confidence", "frac", {"top": 1}, {"tokens": 1}, "probability of the most probable token"),
    Metric("gold_confidence", "frac", {"gold": 1}, {"tokens": 1}, "probability of the token"),
    Metric("confidence_right", "frac", {"top_right": 1}, {"right": 1}, "confidence where it is right"),
    Metric(
        "confidence_wrong", "frac", {"top": 1, "top_right": -1}, {"tokens": 1, "right": -1}, "confidence where wrong"
    ),
    Metric(
        "brier",
        "frac",
        {"miss_squared": 1},
        {"tokens": 1},
        "squared distance of confidence from right (1) or wrong (0)",
    ),
)
"""The metrics of tokens. ``match``, of whole answers, has the role ``example``: right at every answer token."""

TOKENS = COLUMNS.index("tokens")


def _terms(signs: Mapping[str, int]) -> tuple[tuple[int, int], ...]:
    return tuple((COLUMNS.index(name), sign) for name, sign in signs.items())


TERMS = tuple((metric.name, _terms(metric.total), _terms(metric.count)) for metric in METRICS)
"""Of each metric: its name, and the (column, sign) pairs that its total and its count sum."""


@final
@dataclass(frozen=True, slots=True)
class Sums:
    """Column sums ``[G, R, len(COLUMNS)]`` by group and role, and whether each row matched ``[B]``; float64."""

    columns: Tensor
    matched: Tensor


def observe(scores: Scores, batch: Batch, *, groups: Tensor, count: int) -> Sums:
    """Sum the scores of a batch by group and role, on the device: nothing waits for the host.

    ``groups`` ``[B]`` is the group of each row, below ``count``.
    """
    with torch.no_grad():
        columns = columns_of(scores.nats, scores.right, scores.top, batch.floor_nats)
        cell = groups[batch.rows] * len(ROLES) + batch.roles
        sums = torch.zeros(count * len(ROLES), len(COLUMNS), dtype=torch.float64, device=columns.device)
        sums.index_add_(0, cell, columns)
        wrong = torch.zeros(batch.size, dtype=torch.float64, device=columns.device)
        wrong.index_add_(0, batch.rows, (~scores.right & (batch.roles != PROMPT)).double())
    return Sums(sums.view(count, len(ROLES), len(COLUMNS)), (wrong == 0).double())


def columns_of(nats: Tensor, right: Tensor, top: Tensor, floor_nats: Tensor) -> Tensor:
    """Return the columns of tokens, ``[..., len(COLUMNS)]`` in float64, from tensors of any one shape."""
    nats, top, hits = nats.double(), top.double(), right.double()
    # p(gold) = exp(-nats): the loss already holds it.
    return torch.stack(
        (torch.ones_like(nats), hits, nats, floor_nats.double(), top, torch.exp(-nats), top * hits, (top - hits) ** 2),
        dim=-1,
    )


def totals_of(columns: list[list[float]], *, matched: float, examples: int, roles: Sequence[str] = ROLES) -> Totals:
    """Return one group's totals from its ``columns`` ``[R, len(COLUMNS)]``; a role without tokens is absent.

    So is the floor where that of a token is not known.
    """
    found: Totals = {}
    present = [(role, sums) for role, sums in zip(roles, columns, strict=True) if sums[TOKENS]]
    for name, totalled, counted in TERMS:
        for role, sums in present:
            if count := sum(sign * sums[at] for at, sign in counted):
                total = sum(sign * sums[at] for at, sign in totalled)
                found.setdefault(name, {})[role] = [round(total, 9), int(count)]
    if any(math.isnan(total) for total, _ in found.get("floor", {}).values()):
        del found["floor"]
    found["match"] = {"example": [int(matched), examples]}
    return found


def add_totals(parts: list[Totals]) -> Totals:
    """Pool totals: sums of totals and of counts."""
    pooled: Totals = {}
    for part in parts:
        for metric, roles in part.items():
            for role, (total, count) in roles.items():
                cell = pooled.setdefault(metric, {}).setdefault(role, [0.0, 0])
                cell[0] += total
                cell[1] += count
    return pooled
