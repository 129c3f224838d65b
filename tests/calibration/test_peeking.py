"""Looking after every example, and stopping when one likes what one sees."""

import numpy as np

from leonids.stats.intervals import binomial_interval
from leonids.stats.sequential import mean_sequence, moving_share_sequence, share_sequence

LEVEL, STREAMS, LENGTH, FIRST = 0.95, 200, 1000, 20


def worth_a_look(distance, error):
    """Return the looks, counted from 1, at which the truth is more than 1.5 standard errors away.

    The adversary looks after every example from the 20th on. An interval that holds what it promises even at one look
    is wider than this, so at the other looks it misses only where it misses at these more often still.
    """
    looks = np.flatnonzero(distance > 1.5 * error) + 1
    return looks[looks >= FIRST].tolist()


def ever_missed(follow, truth_of, *, seed):
    """Share of streams in which an adversary who stops at any example finds the truth outside at least once."""
    rng = np.random.default_rng(seed)
    truth = truth_of(np.arange(1, LENGTH + 1) / LENGTH)
    n = np.arange(1, LENGTH + 1)
    average = np.cumsum(truth) / n
    error = np.sqrt(average * (1 - average) / n)
    missed = 0
    for _ in range(STREAMS):
        right = np.cumsum(rng.random(LENGTH) < truth)
        looks = worth_a_look(np.abs(right / n - average), error)
        ends = ((at, follow(int(right[at - 1]), at, level=LEVEL)) for at in looks)
        missed += any(not iv.low <= average[at - 1] <= iv.high for at, iv in ends)
    return missed / STREAMS


def constant(t):
    return np.full(t.shape, 0.8)


def rising(t):
    return 0.2 + 0.75 * t


def test_a_stream_watched_throughout_never_escapes_its_sequence_more_often_than_alpha(lab):
    assert ever_missed(share_sequence, constant, seed=1) <= lab.allowed(0.05, STREAMS)


def test_a_share_that_rises_during_training_stays_inside_its_sequence(lab):
    assert ever_missed(moving_share_sequence, rising, seed=2) <= lab.allowed(0.05, STREAMS)


def test_an_interval_for_one_look_is_caught_when_looked_at_throughout(lab):
    assert ever_missed(binomial_interval, constant, seed=1) > 2 * lab.allowed(0.05, STREAMS)


def test_a_mean_watched_throughout_stays_inside_its_sequence(lab):
    rng = np.random.default_rng(3)
    missed = 0
    for _ in range(STREAMS):
        x = rng.gamma(2.0, 0.35, LENGTH)
        n = np.arange(1, LENGTH + 1)
        mean = np.cumsum(x) / n
        sd = np.sqrt(np.maximum(np.cumsum(x * x) / n - mean**2, 0))
        looks = worth_a_look(np.abs(mean - 0.7), sd / np.sqrt(n))
        # The promise of this sequence is asymptotic: it begins at 50 values.
        ends = (mean_sequence(mean[i - 1], sd=sd[i - 1], n=i, level=LEVEL) for i in looks if i >= 50)
        missed += any(not iv.low <= 0.7 <= iv.high for iv in ends)
    assert missed / STREAMS <= lab.allowed(0.05, STREAMS)
