import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leonids.stats.families import Graph, gates, holm, step_down

P_VALUES = st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=7)


def run(graph, p, *, alpha=0.05):
    return [d.rejected for d in step_down(graph, decides=lambda i, share: p[i] <= alpha * share)]


def holm_by_hand(p, alpha=0.05):
    rejected = [False] * len(p)
    for rank, i in enumerate(np.argsort(p, kind="stable")):
        if p[i] > alpha / (len(p) - rank) * (1 + 1e-12):
            break
        rejected[i] = True
    return rejected


@given(P_VALUES.map(lambda p: [x**3 for x in p]))
def test_the_holm_graph_is_holms_procedure(p):
    assert run(holm(len(p)), p) == holm_by_hand(p)


@given(P_VALUES)
def test_gates_without_premises_are_holm(p):
    assert run(gates(len(p), premises={}), p) == run(holm(len(p)), p)


@given(st.lists(st.floats(1e-6, 1.0).map(lambda x: x**3), min_size=2, max_size=6))
def test_a_chain_of_premises_is_the_fixed_sequence_test(p):
    premises = {i: [i - 1] for i in range(1, len(p))}
    sequence = list(itertools.accumulate((x <= 0.05 for x in p), lambda a, b: a and b))
    assert run(gates(len(p), premises=premises), p) == sequence


@given(st.integers(2, 6), st.data())
def test_shares_never_add_up_to_more_than_all_of_alpha(m, data):
    premises = {i: data.draw(st.lists(st.integers(0, i - 1), max_size=2, unique=True)) for i in range(1, m)}
    graph = gates(m, premises=premises)
    assert sum(graph.weights) == pytest.approx(1.0)
    assert all(sum(row) <= 1.0 + 1e-9 for row in graph.transitions)
    hits = data.draw(st.lists(st.booleans(), min_size=m, max_size=m))
    final = step_down(graph, decides=lambda i, _: hits[i])
    assert sum(d.share for d in final if not d.rejected) <= 1.0 + 1e-9
    assert all(d.share <= 1.0 + 1e-9 for d in final)


@given(P_VALUES.map(lambda p: [x**3 for x in p]), st.randoms())
def test_the_outcome_does_not_depend_on_the_order_of_the_claims(p, random):
    order = list(range(len(p)))
    random.shuffle(order)
    weights = np.arange(1.0, len(p) + 1) / sum(range(1, len(p) + 1))

    def graph(w):
        others = 1.0 / max(1, len(w) - 1)
        return Graph(tuple(w), tuple(tuple(0.0 if i == j else others for j in range(len(w))) for i in range(len(w))))

    straight = run(graph(weights), p)
    mixed = run(graph(weights[order]), [p[i] for i in order])
    assert [straight[i] for i in order] == mixed


@pytest.mark.parametrize("correlation", [0.0, 0.9, -0.3])
def test_false_rejections_of_a_gated_family_stay_below_alpha(correlation):
    """Two true nulls behind a premise that is false: 4,000 draws, accepted up to 3 standard errors above 5 %."""
    rng = np.random.default_rng(7)
    m, draws = 4, 4000
    cov = np.full((m, m), correlation) + (1 - correlation) * np.eye(m)
    z = rng.multivariate_normal([3.0, 0, 0, 0], cov, size=draws)
    from scipy.special import ndtr

    p = ndtr(-z)
    graph = gates(m, premises={1: [0], 2: [0]})
    wrong = sum(any(run(graph, row)[1:]) for row in p)
    assert wrong / draws <= 0.05 + 3 * (0.05 * 0.95 / draws) ** 0.5
