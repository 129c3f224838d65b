"""Many claims judged together: Holm's procedure and its generalisation to graphs.

A test is a function ``decides(i, share)``: would test ``i`` reject if it were given ``share`` of its alpha?
That is all a step-down procedure asks, so tests need no p-values: an interval that lies inside the claimed
region at level ``1 - 2 * alpha * share`` is the same statement.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, final

Decides: TypeAlias = Callable[[int, float], bool]


@final
@dataclass(frozen=True, slots=True)
class Graph:
    """Shares of alpha that tests begin with, and where the share of a rejected one goes; ``[m]`` and ``[m][m]``."""

    weights: tuple[float, ...]
    transitions: tuple[tuple[float, ...], ...]


@final
@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a test rejected, and the share of alpha it had when it did, or at the end."""

    rejected: bool
    share: float


def holm(m: int) -> Graph:
    """Return Holm's procedure for ``m`` tests: equal shares, each handed on equally."""
    onward = 1.0 / (m - 1) if m > 1 else 0.0
    rows = tuple(tuple(0.0 if i == j else onward for j in range(m)) for i in range(m))
    return Graph((1.0 / m,) * m, rows)


def gates(m: int, *, premises: Mapping[int, Sequence[int]]) -> Graph:
    """Return the procedure in which a test begins with nothing and inherits the share of its premises.

    ``premises[i]`` are the tests that must reject before ``i`` is tested. Tests without premises share alpha
    equally; a rejected test hands its share to the tests that wait for it, or else back to all without premises.
    """
    roots = [i for i in range(m) if not premises.get(i)]
    rows: list[tuple[float, ...]] = []
    for i in range(m):
        heirs = [j for j in range(m) if i in premises.get(j, ())] or [j for j in roots if j != i]
        rows.append(tuple(1.0 / len(heirs) if j in heirs else 0.0 for j in range(m)))
    return Graph(tuple(1.0 / len(roots) if i in roots else 0.0 for i in range(m)), tuple(rows))


def step_down(graph: Graph, *, decides: Decides) -> tuple[Decision, ...]:
    """Run the graphical procedure of Bretz, Maurer, Brannath and Posch (2009, Algorithm 1).

    The chance of any false rejection is at most alpha, under any dependence between the tests. The outcome
    does not depend on the order in which tests are visited.
    """
    left = set(range(len(graph.weights)))
    shares = list(graph.weights)
    onward = [list(row) for row in graph.transitions]
    while (j := next((i for i in sorted(left) if shares[i] > 0 and decides(i, shares[i])), None)) is not None:
        left.remove(j)
        for i in left:
            shares[i] += shares[j] * onward[j][i]
        onward = [
            [_rerouted(onward, i, k, via=j) if i in left and k in left else 0.0 for k in range(len(shares))]
            for i in range(len(shares))
        ]
    return tuple(Decision(i not in left, shares[i]) for i in range(len(shares)))


def _rerouted(onward: Sequence[Sequence[float]], i: int, k: int, *, via: int) -> float:
    loop = onward[i][via] * onward[via][i]
    if i == k or loop >= 1.0:
        return 0.0
    return (onward[i][k] + onward[i][via] * onward[via][k]) / (1.0 - loop)
