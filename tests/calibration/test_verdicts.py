"""False verdicts are at most alpha, and the mutants that break this are caught."""

import numpy as np
import pytest
from scipy.special import ndtri

from leonids.claims.evidence import RunFacts, Units
from leonids.claims.prediction import Beyond
from leonids.stats import intervals
from leonids.study import streams
from leonids.study.streams import Table

BOTH = Beyond(below="refutes", above="refutes")


def five_looks(lab, *, word, expect, beyond=None, draws=500, seeds=3, shared=0.5, rng_seed=1):
    """How often any of five predictions, one a review, gets ``word`` where the truth sits on the border 0.4."""
    rng = np.random.default_rng(rng_seed)
    claims = [lab.claim(f"P{i}", when={"at": at}, expect=expect, beyond=beyond) for i, at in enumerate(lab.reviews)]
    hits = 0
    for _ in range(draws):
        noise = shared**0.5 * rng.normal(size=(seeds, 1)) + (1 - shared) ** 0.5 * rng.normal(size=(seeds, 5))
        hits += word in lab.words(lab.world(reviews={"a": 0.4 + 0.02 * noise}), *claims)
    return hits / draws


MANY = pytest.param(8000, marks=pytest.mark.slow)
"""Draws that leave an allowance of 0.7 points above alpha; about half a minute."""


@pytest.mark.parametrize("draws", [500, MANY])
@pytest.mark.parametrize(("seeds", "shared"), [(2, 0.0), (5, 0.9)])
def test_five_looks_support_a_false_claim_at_most_alpha_of_the_time(lab, seeds, draws, shared):
    rate = five_looks(lab, word="supported", expect={"below": 0.4}, seeds=seeds, draws=draws, shared=shared)
    print(f"five looks, {seeds} seeds, {shared:.0%} of variance shared: {rate:.4f} false verdicts in {draws} draws")
    assert rate <= lab.allowed(0.05, draws)


@pytest.mark.parametrize("draws", [500, MANY])
def test_five_looks_refute_a_true_claim_at_most_alpha_of_the_time(lab, draws):
    rate = five_looks(lab, word="refuted", expect={"between": (0.2, 0.4)}, beyond=BOTH, draws=draws)
    print(f"five looks at a true claim: {rate:.4f} refuted in {draws} draws")
    assert rate <= lab.allowed(0.05, draws)


def test_a_normal_quantile_in_place_of_t_is_caught(lab, monkeypatch):
    monkeypatch.setattr(intervals, "t_quantile", lambda p, *, df: float(ndtri(p)))
    assert five_looks(lab, word="supported", expect={"below": 0.4}, draws=400) > lab.allowed(0.05, 400)


def test_judging_five_claims_as_if_each_were_alone_is_caught(lab, monkeypatch):
    from leonids.claims import judge
    from leonids.stats.families import Graph

    def lonely(m, **_):
        return Graph((1.0,) * m, ((0.0,) * m,) * m)

    monkeypatch.setattr(judge, "gates", lonely)
    rate = five_looks(lab, word="supported", expect={"below": 0.4}, draws=600, shared=0.0)
    assert rate > lab.allowed(0.05, 600)


def test_a_claim_far_inside_its_region_is_supported_nearly_always(lab):
    """Five seeds, the border four standard deviations away, a fifth of alpha at first."""
    rng = np.random.default_rng(3)
    claims = [lab.claim(f"P{i}", when={"at": at}, expect={"below": 0.48}) for i, at in enumerate(lab.reviews)]
    draws = (lab.words(lab.world(reviews={"a": rng.normal(0.4, 0.02, (5, 5))}), *claims) for _ in range(200))
    assert np.mean([words.count("supported") == 5 for words in draws]) > 0.9


@pytest.mark.parametrize("true", [0.0, 0.02])
def test_two_sided_difference_is_claimed_falsely_at_most_alpha_of_the_time(lab, true):
    """``differs`` can be met by luck on either side: at a true difference of 0 both count."""
    rng = np.random.default_rng(11)
    claim = lab.claim("D", versus="b", expect={"differs": true})
    draws = 500
    hits = 0
    for _ in range(draws):
        base = rng.normal(0.4, 0.1, (4, 5))
        world = lab.world(reviews={"a": base + rng.normal(true, 0.01, (4, 5)), "b": base})
        hits += lab.words(world, claim) == ["supported"]
    assert hits / draws <= lab.allowed(0.05, draws)


def test_dependent_claims_behind_a_premise_are_supported_falsely_at_most_alpha_of_the_time(lab):
    """The premise is true and obvious; what needs it is false, and its noise is shared."""
    rng = np.random.default_rng(13)
    claims = [
        lab.claim("A", when={"at": 0.15}, expect={"below": 1.0}),
        lab.claim("B", when={"at": 0.3}, expect={"below": 0.4}, needs=("A",)),
        lab.claim("C", when={"at": 0.5}, expect={"below": 0.4}, needs=("A",)),
        lab.claim("D", when={"at": 0.6}, expect={"below": 0.4}),
    ]
    draws, hits = 500, 0
    for _ in range(draws):
        noise = 0.9 * rng.normal(size=(4, 1)) + 0.436 * rng.normal(size=(4, 5))
        words = lab.words(lab.world(reviews={"a": 0.4 + 0.02 * noise}), *claims)
        hits += "supported" in words[1:]
    assert hits / draws <= lab.allowed(0.05, draws)


def clustered(rng, *, examples=100, tokens=20):
    """Token losses of examples that share half of their variance within an example; mean 1."""
    return 1.0 + rng.normal(size=(examples, 1)) + rng.normal(size=(examples, tokens))


def coverage(interval_of, draws=500, level=0.9):
    rng = np.random.default_rng(17)
    found = (interval_of(clustered(rng), level) for _ in range(draws))
    return np.mean([iv.low <= 1.0 <= iv.high for iv in found])


def test_intervals_over_examples_cover_and_intervals_over_tokens_do_not():
    def by_example(x, level):
        return intervals.ratio_interval(x.sum(1), np.full(len(x), float(x.shape[1])), level=level)

    def by_token(x, level):
        return intervals.ratio_interval(x.ravel(), np.ones(x.size), level=level)

    assert coverage(by_example) >= 0.9 - 3 * (0.09 / 500) ** 0.5
    assert coverage(by_token) < 0.6


LOSSES = {"structure": (4, 0.1), "copied": (3, 0.5), "decided": (2, 0.55), "end": (1, 1.0)}
"""Tokens of an example by role and their mean loss: 0.4 nats a token in all, a third of a nat without the end."""


class Answers:
    """One run of 100 examples at its last review, pooled over roles as a folder's streams are."""

    def __init__(self, rng):
        counts = {("loss", role): np.full(100, float(n)) for role, (n, _) in LOSSES.items()}
        means = {("loss", role): rng.normal(mean, 0.1, 100) for role, (_, mean) in LOSSES.items()}
        at = np.arange(100)
        self.table = Table(np.full(100, 1000), at, {key: means[key] * counts[key] for key in counts}, counts)

    def runs(self, arm, *, prediction):
        return (RunFacts("a:0", arm, 0, 1000, 1000, "sealed"),)

    def units(self, run, *, metric, tokens, split, window):
        totals, counts = self.table.pooled(metric, tokens)
        return Units(totals, counts, self.table.steps, self.table.keys, "examples")

    def last_step(self, run, *, split, by):
        return by


def falsely_low(lab, draws=300):
    rng = np.random.default_rng(61)
    low = lab.claim("L", expect={"below": 0.4}, scope="run")
    return np.mean([lab.words(Answers(rng), low) == ["supported"] for _ in range(draws)])


def test_an_answer_loss_that_leaves_out_the_end_token_is_caught(lab, monkeypatch):
    assert falsely_low(lab) <= lab.allowed(0.05, 300)
    without = {**streams.CELLS, "answer": tuple(cell for cell in streams.CELLS["answer"] if cell != "end")}
    monkeypatch.setattr(streams, "CELLS", without)
    assert falsely_low(lab) > lab.allowed(0.05, 300)


def test_ratios_of_examples_of_different_lengths_cover():
    rng = np.random.default_rng(19)
    draws, inside = 800, 0
    for _ in range(draws):
        tokens = rng.integers(3, 40, 200).astype(float)
        totals = tokens * (0.5 + 0.01 * tokens) + rng.normal(size=200) * tokens**0.5
        truth = np.sum(np.arange(3, 40) * (0.5 + 0.01 * np.arange(3, 40))) / np.sum(np.arange(3, 40))
        iv = intervals.ratio_interval(totals, tokens, level=0.9)
        inside += iv.low <= truth <= iv.high
    assert inside / draws >= 0.9 - 3 * (0.09 / draws) ** 0.5


@pytest.mark.parametrize("draws", [500, MANY])
def test_a_family_of_true_and_false_claims_rarely_gets_any_wrong_verdict(lab, draws):
    """Support and refutation are two promises of alpha each; with both kinds at their borders, and independent
    noise, wrong verdicts of either kind together stay within 0.5 points of alpha."""
    rng = np.random.default_rng(53)
    claims = [lab.claim(f"F{i}", when={"at": at}, expect={"below": 0.4}) for i, at in enumerate((0.15, 0.3))]
    closed = {"expect": {"between": (0.2, 0.4)}, "beyond": BOTH}
    claims += [lab.claim(f"T{i}", when={"at": at}, **closed) for i, at in enumerate((0.5, 0.6))]
    hits = 0
    for _ in range(draws):
        words = lab.words(lab.world(reviews={"a": 0.4 + 0.02 * rng.normal(size=(4, 5))}), *claims)
        hits += "supported" in words[:2] or "refuted" in words[2:]
    print(f"mixed family: {hits / draws:.4f} wrong verdicts of either kind in {draws} draws")
    assert hits / draws <= lab.allowed(0.055, draws)
