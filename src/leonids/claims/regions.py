"""The claimed region, and where an interval lies with respect to it: one rule for every predicate."""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, final

from leonids.claims.prediction import Beyond
from leonids.stats.intervals import Interval

Place: TypeAlias = Literal["inside", "below", "above", "gap", "straddles"]


@final
@dataclass(frozen=True, slots=True)
class Region:
    """Values that the prediction claims: one piece, or two with a gap. Ends belong to it only if ``closed``.

    ``below_refutes`` and ``above_refutes`` say what a miss on that side means; a miss into a gap refutes.
    """

    pieces: tuple[tuple[float, float], ...]
    closed: bool = False
    below_refutes: bool = True
    above_refutes: bool = True

    def level(self, alpha: float) -> float:
        """Return the interval's level at which being inside is a test at ``alpha``.

        Each end of the interval errs with ``alpha / pieces``: a claim with two pieces can be met by luck twice.
        """
        return 1.0 - 2.0 * alpha / len(self.pieces)

    def place(self, interval: Interval) -> Place:
        """Return where ``interval`` lies."""
        if any(self._holds(piece, interval) for piece in self.pieces):
            return "inside"
        if any(self._touches(piece, interval) for piece in self.pieces):
            return "straddles"
        if interval.high <= self.pieces[0][0]:
            return "below"
        return "above" if interval.low >= self.pieces[-1][1] else "gap"

    def refuted_by(self, place: Place) -> bool:
        """Whether an interval at ``place`` refutes the claim."""
        return place == "gap" or (place == "below" and self.below_refutes) or (place == "above" and self.above_refutes)

    def depth(self, low: float, high: float) -> float:
        """Return how far ``[low, high]`` lies inside the nearest piece; negative by how far it sticks out."""
        return max(min(low - piece[0], piece[1] - high) for piece in self.pieces)

    def _holds(self, piece: tuple[float, float], interval: Interval) -> bool:
        if self.closed:
            return piece[0] <= interval.low and interval.high <= piece[1]
        return piece[0] < interval.low and interval.high < piece[1]

    def _touches(self, piece: tuple[float, float], interval: Interval) -> bool:
        if self.closed:
            return interval.low <= piece[1] and piece[0] <= interval.high
        return interval.low < piece[1] and piece[0] < interval.high


def between(low: float, high: float, *, beyond: Beyond) -> Region:
    """Return ``[low, high]``; a side whose miss supports is opened."""
    piece = (-math.inf if beyond.below == "supports" else low, math.inf if beyond.above == "supports" else high)
    below, above = beyond.below == "refutes", beyond.above == "refutes"
    return Region((piece,), closed=True, below_refutes=below, above_refutes=above)


def above(threshold: float) -> Region:
    """Return everything above ``threshold``."""
    return Region(((threshold, math.inf),))


def below(threshold: float) -> Region:
    """Return everything below ``threshold``."""
    return Region(((-math.inf, threshold),))


def apart(size: float) -> Region:
    """Return everything farther from zero than ``size``, on either side."""
    return Region(((-math.inf, -size), (size, math.inf)))


def around(margin: float) -> Region:
    """Return everything nearer to zero than ``margin``: the region of an equivalence test."""
    return Region(((-margin, margin),))
