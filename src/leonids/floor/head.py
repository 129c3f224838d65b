"""The second floor: what a frozen output matrix cannot say, whatever an adapter does before it.

With RMSNorm before the head the normalised state u obeys |u| <= sqrt(d). So no adapter, of any rank, brings the
loss of a token with true distribution q below

    min over |u| <= sqrt(d) of  CE(q, softmax(W diag(g) u))          W [V, d], g [d]

which is convex in u: a log-sum-exp of linear functions minus a linear one, over a ball. Frank and Wolfe's gap
``sqrt(d) |grad| + grad . u`` bounds how far an iterate is from the least value, so what is returned is a
certified interval.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@final
@dataclass(frozen=True, slots=True)
class HeadFloor:
    """Least cross-entropies in nats, one for each target: between ``low`` and ``high`` [n]."""

    low: Array
    high: Array


def _targets(shares: Sequence[Mapping[int, float]], directions: Array) -> Array:
    """Return sum over tokens of q[token] * direction[token], ``[n, d]``."""
    rows = [
        sum((share * directions[token] for token, share in q.items()), np.zeros(directions.shape[1])) for q in shares
    ]
    return np.stack(rows)


def _value_and_gradient(states: Array, directions: Array, targets: Array) -> tuple[Array, Array]:
    logits = states @ directions.T
    top = logits.max(axis=1, keepdims=True)
    weights = np.exp(logits - top)
    total = weights.sum(axis=1, keepdims=True)
    value = (top + np.log(total))[:, 0] - (states * targets).sum(axis=1)
    return value, (weights / total) @ directions - targets


def _onto_ball(states: Array, radius: float) -> Array:
    length = np.linalg.norm(states, axis=1, keepdims=True)
    inside: Array = states * np.minimum(1.0, radius / np.maximum(length, 1e-300))
    return inside


def _start(directions: Array, targets: Array, radius: float) -> Array:
    centred = targets - directions.mean(axis=0)
    return _onto_ball(centred * 1e9, radius) if directions.shape[0] > 1 else np.zeros_like(targets)


def head_floor(
    matrix: Array,
    gain: Array,
    shares: Sequence[Mapping[int, float]],
    *,
    tolerance_nats: float = 1e-4,
    steps: int = 2000,
) -> HeadFloor:
    """Return the head's floor for each target distribution in ``shares``, to ``tolerance_nats`` where it converges.

    ``matrix`` [V, d] is the output matrix, ``gain`` [d] the final RMSNorm's gain, ``shares`` the targets as sparse
    distributions over tokens. The true value lies between ``low`` and ``high`` whether or not it converged.
    Method: projected gradient with Nesterov's momentum, step length by backtracking, restarted when the value rises.
    """
    directions = np.asarray(matrix, dtype=np.float64) * np.asarray(gain, dtype=np.float64)
    radius = float(np.sqrt(directions.shape[1]))
    targets = _targets(shares, directions)
    states = _start(directions, targets, radius)
    n = len(shares)
    best_low, best_high = np.full(n, -np.inf), np.full(n, np.inf)
    momentum, previous = np.ones(n), states.copy()
    lipschitz = np.ones(n)
    active = np.arange(n)
    for _ in range(steps):
        now, before, goal = states[active], previous[active], targets[active]
        value, gradient = _value_and_gradient(now, directions, goal)
        gap = radius * np.linalg.norm(gradient, axis=1) + (gradient * now).sum(axis=1)
        best_high[active] = np.minimum(best_high[active], value)
        best_low[active] = np.maximum(best_low[active], value - gap)
        going = (best_high[active] - best_low[active]) > tolerance_nats
        if not going.any():
            break
        active, now, before, goal = active[going], now[going], before[going], goal[going]
        states[active], previous[active], lipschitz[active], momentum[active] = _descend(
            now, before, goal, directions=directions, radius=radius, pace=(lipschitz[active], momentum[active])
        )
    return HeadFloor(np.maximum(best_low, 0.0), best_high)


def _descend(
    now: Array, before: Array, goal: Array, *, directions: Array, radius: float, pace: tuple[Array, Array]
) -> tuple[Array, Array, Array, Array]:
    """One accelerated step: return the new states, the old ones, the curvature estimates and the momenta."""
    lipschitz, momentum = pace
    following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
    ahead = _onto_ball(now + ((momentum - 1) / following)[:, None] * (now - before), radius)
    value, gradient = _value_and_gradient(ahead, directions, goal)
    lipschitz = lipschitz * 0.7
    while True:
        moved = _onto_ball(ahead - gradient / lipschitz[:, None], radius)
        difference = moved - ahead
        reached, _ = _value_and_gradient(moved, directions, goal)
        bound = value + (gradient * difference).sum(axis=1) + lipschitz / 2 * (difference**2).sum(axis=1)
        short = reached > bound + 1e-12
        if not short.any():
            break
        lipschitz = np.where(short, lipschitz * 2, lipschitz)
    start, _ = _value_and_gradient(now, directions, goal)
    rose = reached > start
    return np.where(rose[:, None], now, moved), now, lipschitz, np.where(rose, 1.0, following)
