"""The second floor: what a frozen output matrix cannot say, whatever an adapter does before it.

A norm before the head makes a state u with |u| <= sqrt(d); LayerNorm's u has mean 0 besides. So no adapter, of any
rank, brings the loss of a token with true distribution q below

    min over |u| <= sqrt(d) of  CE(q, softmax(z))     z = scale * (W (g * u + c) + b)     W [V, d], g and c [d], b [V]

which is convex in u: a log-sum-exp of linear functions minus a linear one, over a ball. What is returned is a
certified interval. Tokens that some tried state already says well enough need no more than that state. For the
others most of the vocabulary is replaced by one row: by Jensen's inequality ``sum_j exp(z_j)`` is at least
``exp(H(w) + sum_j w_j z_j)`` for all shares w, so the small problem's least value is a lower bound of the whole
one's, and the loss of its solution, over the whole vocabulary, is an upper bound.

Soft-capping, ``z -> cap tanh(z / cap)``, makes the problem non-convex. It is increasing and nowhere steeper than
1, so: where no other token beats t, t's loss is at least the uncapped one; where one does, it is at least ln 2.
And ``c(z_t) - c(z_j) <= sqrt(d) |D_t - D_j|``. The interval is certified, and wider.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from leonids.floor.ball import BallProblem

Array = NDArray[np.float64]
Array32 = NDArray[np.float32]

COVARIANCE_ROWS = 16_384
RIDGES = (0.1, 1.0, 0.001)
LENGTHS = (1.0, 0.5, 0.2, 0.05)
CAPPED_LENGTHS = (1.0, 0.9, 0.75, 0.5, 0.3)
BLOCK_LOGITS = 1 << 23
NEW_ROWS = 128
LEAST_REST = 1e-200


@final
@dataclass(frozen=True, slots=True)
class OutputHead:
    """What turns a normalised state u [d] into logits [V]: ``scale * (weight (gain * u + shift) + bias)``.

    ``weight`` is [V, d], ``gain`` [d]. ``centred``: the norm takes the mean off (LayerNorm). ``cap``: soft-capping.
    """

    weight: Array32
    gain: Array32
    centred: bool = False
    shift: Array32 | None = None
    bias: Array32 | None = None
    scale: float = 1.0
    cap: float | None = None

    @property
    def radius(self) -> float:
        """The greatest length of a normalised state: sqrt(d)."""
        return math.sqrt(self.weight.shape[1])

    def directions(self, tokens: NDArray[np.int64] | slice) -> Array:
        """Return the rows [n, d] that act on u: logits are ``directions @ u + offsets``."""
        rows = self.scale * self.weight[tokens].astype(np.float64) * self.gain.astype(np.float64)
        return rows - rows.mean(axis=1, keepdims=True) if self.centred else rows

    def offsets(self) -> Array:
        """Return what the logits are at u = 0; [V]."""
        found = np.zeros(self.weight.shape[0])
        if self.shift is not None:
            found += self.weight @ self.shift
        if self.bias is not None:
            found += self.bias
        return self.scale * found

    def capped(self, logits: Array) -> Array:
        """Return logits after soft-capping, where there is any."""
        return logits if self.cap is None else self.cap * np.tanh(logits / self.cap)


@final
@dataclass(frozen=True, slots=True)
class HeadFloor:
    """Least cross-entropies in nats, one for each target: between ``low`` and ``high`` [n]."""

    low: Array
    high: Array


def head_floor(
    head: OutputHead, shares: Sequence[Mapping[int, float]], *, tolerance_nats: float = 1e-4, rounds: int = 40
) -> HeadFloor:
    """Return the head's floor for each target distribution, to ``tolerance_nats`` where it converges.

    ``shares`` are sparse distributions over tokens. The true value lies between ``low`` and ``high`` whether or
    not it converged; under soft-capping the interval may stay wide.
    """
    offsets = head.offsets()
    entropy = np.array([-math.fsum(q * math.log(q) for q in target.values() if q > 0) for target in shares])
    if not shares:
        return HeadFloor(entropy, entropy)
    states, high = _screen(head, offsets, shares)
    low = np.maximum(entropy, 0.0)
    # The screen computes in float32, whose logits are good to some 1e-5: it decides at half of the tolerance.
    done = high - low <= tolerance_nats / 2
    high = np.where(done, low + tolerance_nats, high)
    for at in np.flatnonzero(~done):
        one = _Target(head, offsets, shares[int(at)])
        found = one.certified(states[at], tolerance_nats=tolerance_nats, rounds=rounds)
        low[at] = max(low[at], found[0])
        high[at] = max(min(high[at], found[1]), low[at])
    return HeadFloor(low, high)


def _blocks(rows: int, *, of: int) -> Iterator[slice]:
    for start in range(0, rows, of):
        yield slice(start, min(start + of, rows))


def _screen(head: OutputHead, offsets: Array, shares: Sequence[Mapping[int, float]]) -> tuple[Array, Array]:
    """Return the best of some simple states [n, d] for each target, and its loss [n].

    The states point along ``(C + ridge)^-1 (D_t - mean)``, with C the covariance of the rows: what tells a token
    from all others, as in a linear discriminant.
    """
    rows = head.directions(slice(0, None, max(1, len(offsets) // COVARIANCE_ROWS)))
    mean = rows.mean(axis=0)
    spread = ((rows - mean).T @ (rows - mean)) / len(rows)
    level = max(float(np.trace(spread)) / len(mean), 1e-300)
    pulls = np.stack([_goal(head, target) for target in shares]) - mean
    states, best = np.zeros_like(pulls), np.full(len(shares), np.inf)
    lengths = LENGTHS if head.cap or any(len(target) > 1 for target in shares) else LENGTHS[:1]
    for ridge in RIDGES:
        # A certain token that is said to 1e-6 needs no other try.
        going = np.flatnonzero(best > 1e-6)
        towards = np.linalg.solve(spread + ridge * level * np.eye(len(mean)), pulls[going].T).T
        towards *= head.radius / np.maximum(np.linalg.norm(towards, axis=1, keepdims=True), 1e-300)
        for block in _blocks(len(going), of=max(1, BLOCK_LOGITS // len(offsets))):
            at = going[block]
            logits, chosen = _logits32(head, towards[block]), [shares[i] for i in at]
            for length in lengths:
                value = _losses(head, length * logits + offsets, chosen)
                better = value < best[at]
                states[at[better]], best[at[better]] = length * towards[block][better], value[better]
    return states, best


def _greatest(logits: Array, count: int, *, but: NDArray[np.int64]) -> NDArray[np.int64]:
    if count + len(but) >= len(logits):
        return np.arange(len(logits))
    others = logits.copy()
    others[but] = -np.inf
    return np.argpartition(others, -count)[-count:]


def _goal(head: OutputHead, target: Mapping[int, float]) -> Array:
    tokens = np.fromiter(target, dtype=np.int64)
    goal: Array = np.fromiter(target.values(), dtype=np.float64) @ head.directions(tokens)
    return goal


def _logits32(head: OutputHead, states: Array) -> Array32:
    """Return [n, V] logits without their offsets, in float32: twice as fast, good to about 1e-5."""
    if head.centred:
        states = states - states.mean(axis=1, keepdims=True)
    moved: Array32 = (head.scale * states * head.gain).astype(np.float32) @ head.weight.T
    return moved


def _losses(head: OutputHead, logits: Array, shares: Sequence[Mapping[int, float]]) -> Array:
    logits = head.capped(logits)
    top = logits.max(axis=1)
    total = np.log(np.exp((logits - top[:, None]).astype(np.float32)).sum(axis=1, dtype=np.float64))
    said = [math.fsum(q * float(logits[i, t]) for t, q in target.items()) for i, target in enumerate(shares)]
    found: Array = top + total - np.array(said)
    return found


@final
class _Target:
    """The head's floor of one target distribution, certified over the whole vocabulary in float64."""

    def __init__(self, head: OutputHead, offsets: Array, target: Mapping[int, float]) -> None:
        self._head = head
        self._offsets = offsets
        self._target = target
        self._tokens = np.fromiter(target, dtype=np.int64)
        self._weights = np.fromiter(target.values(), dtype=np.float64)
        self._goal = _goal(head, target)

    def certified(self, state: Array, *, tolerance_nats: float, rounds: int) -> tuple[float, float]:
        """Return the interval of the least cross-entropy, from ``state`` on."""
        low, high, capped = -math.inf, math.inf, math.inf
        best, best_logits, kept = state, self._offsets, self._tokens
        for _ in range(rounds):
            logits = self._logits(state)
            value = self._loss(logits)
            if value < high:
                best, best_logits, high = state, logits, value
            capped = min(capped, self._capped(state, logits))
            if high - low <= tolerance_nats:
                break
            # Rows that were likely at any state stay: a solution that forgets them runs straight into them.
            kept = np.union1d(kept, _greatest(logits, NEW_ROWS, but=kept))
            state, bound = self._step(best, best_logits, kept=kept, tolerance=tolerance_nats / 4)
            low = max(low, bound)
        return (low, high) if self._head.cap is None else (self._capped_low(low), capped)

    def _logits(self, state: Array) -> Array:
        """Return the logits [V], uncapped, in float64."""
        moved = state - state.mean() if self._head.centred else state
        moved = self._head.scale * moved * self._head.gain
        logits = self._offsets.copy()
        for block in _blocks(len(logits), of=8192):
            logits[block] += self._head.weight[block].astype(np.float64) @ moved
        return logits

    def _loss(self, logits: Array) -> float:
        top = float(logits.max())
        return top + math.log(float(np.exp(logits - top).sum())) - float(self._weights @ logits[self._tokens])

    def _step(self, state: Array, logits: Array, *, kept: NDArray[np.int64], tolerance: float) -> tuple[Array, float]:
        """Return the solution of the problem of the ``kept`` rows and one for the rest, and its bound."""
        rows, offsets = self._head.directions(kept), self._offsets[kept]
        rest = np.exp(logits - logits.max())
        rest[kept] = 0.0
        total = float(rest.sum())
        # Shares that underflow are no distribution, and would not bound anything: without them there is no row.
        if total > LEAST_REST:
            row, offset = self._merged(rest / total)
            rows, offsets = np.vstack([rows, row]), np.append(offsets, offset)
        said = float(self._weights @ self._offsets[self._tokens])
        problem = BallProblem(rows=rows, offsets=offsets, goal=self._goal, radius=self._head.radius)
        reached, bound = problem.solve(state, tolerance=tolerance)
        return reached, bound - said

    def _merged(self, shares: Array) -> tuple[Array, float]:
        """Return the one row that stands for many, with its offset: Jensen's bound for shares [V] of them."""
        row = np.zeros(self._head.weight.shape[1])
        for block in _blocks(len(shares), of=8192):
            row += shares[block] @ self._head.weight[block].astype(np.float64)
        row *= self._head.scale * self._head.gain
        if self._head.centred:
            row -= row.mean()
        some = shares[shares > 0]
        return row, float(shares @ self._offsets) - float(some @ np.log(some))

    def _capped(self, state: Array, logits: Array) -> float:
        if self._head.cap is None:
            return math.inf
        away = logits - self._offsets
        return min(
            self._loss(self._head.capped(length * away + self._offsets)) for length in (1.0, 0.9, 0.75, 0.5, 0.3)
        )

    def _capped_low(self, low: float) -> float:
        if len(self._tokens) > 1:
            return 0.0
        total = 0.0
        for block in _blocks(len(self._offsets), of=8192):
            apart = self._head.radius * np.linalg.norm(self._head.directions(block) - self._goal, axis=1)
            apart += np.abs(self._offsets[block] - self._offsets[self._tokens[0]])
            total += float(np.exp(-apart).sum())
        return max(min(low, math.log(2)), math.log(total))
