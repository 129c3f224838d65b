"""The least value of a log-sum-exp of linear functions over a ball, by Newton steps, with a certificate."""

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NEWTON_STEPS = 80
BISECTIONS = 60


@final
@dataclass(frozen=True, slots=True)
class BallProblem:
    """Minimise ``log sum_k exp(rows[k] . u + offsets[k]) - goal . u`` over ``|u| <= radius``.

    ``rows`` is [m, d], ``offsets`` [m], ``goal`` [d]. It is convex, so the Frank-Wolfe gap
    ``radius |grad| + grad . u`` bounds how far an iterate is from the least value.
    """

    rows: Array
    offsets: Array
    goal: Array
    radius: float

    def solve(self, start: Array, *, tolerance: float) -> tuple[Array, float]:
        """Return the state [d] reached from ``start`` and a certified lower bound of the least value."""
        basis = self._basis()
        rows, goal = self.rows @ basis, self.goal @ basis
        # What of the goal lies outside of the rows' span is worth its length: the basis holds it too.
        state = start @ basis
        best = -math.inf
        for _ in range(NEWTON_STEPS):
            value, gradient, curvature = self._model(rows, goal, state)
            gap = self.radius * float(np.linalg.norm(gradient)) + float(gradient @ state)
            best = max(best, value - gap)
            if gap <= tolerance:
                break
            towards = self._quadratic_minimum(curvature, curvature @ state - gradient) - state
            slope = float(gradient @ towards)
            length = self._descend(rows, goal, state, towards=towards, aim=(value, slope))
            if length == 0.0:
                break
            state = state + length * towards
        return basis @ state, best

    def _basis(self) -> Array:
        """Return an orthonormal basis [d, r] of everything that the value depends on."""
        d = self.rows.shape[1]
        if self.rows.shape[0] + 1 >= d:
            return np.eye(d)
        basis: Array = np.linalg.qr(np.vstack([self.rows, self.goal]).T)[0]
        return basis

    def _model(self, rows: Array, goal: Array, state: Array) -> tuple[float, Array, Array]:
        logits = rows @ state + self.offsets
        top = float(logits.max())
        shares = np.exp(logits - top)
        total = float(shares.sum())
        shares /= total
        mean = shares @ rows
        curvature = (rows * shares[:, None]).T @ rows - np.outer(mean, mean)
        return top + math.log(total) - float(goal @ state), mean - goal, curvature

    def _value(self, rows: Array, goal: Array, state: Array) -> float:
        logits = rows @ state + self.offsets
        top = float(logits.max())
        return top + math.log(float(np.exp(logits - top).sum())) - float(goal @ state)

    def _quadratic_minimum(self, curvature: Array, pull: Array) -> Array:
        """Return the v in the ball with the least ``v . curvature v / 2 - pull . v``, by its multiplier."""
        values, vectors = np.linalg.eigh(curvature)
        values = np.maximum(values, 0.0)
        pulls = vectors.T @ pull
        low, high = 1e-12, float(np.linalg.norm(pulls)) / self.radius + 1e-12
        if np.linalg.norm(pulls / (values + low)) > self.radius:
            for _ in range(BISECTIONS):
                middle = math.sqrt(low * high)
                outside = np.linalg.norm(pulls / (values + middle)) > self.radius
                low, high = (middle, high) if outside else (low, middle)
            low = high
        inside: Array = vectors @ (pulls / (values + low))
        return inside

    def _descend(self, rows: Array, goal: Array, state: Array, *, towards: Array, aim: tuple[float, float]) -> float:
        """Return the step length in (0, 1] that lowers the value enough, or 0 where rounding leaves none."""
        value, slope = aim
        length = 1.0
        while length > 1e-10:
            if self._value(rows, goal, state + length * towards) <= value + 1e-4 * length * slope:
                return length
            length /= 2
        return 0.0
