"""Looking after every example, and stopping when one likes what one sees."""

import numpy as np

from leonids.stats.intervals import binomial_interval
from leonids.stats.sequential import mean_sequence, moving_share_sequence, share_sequence

LEVEL, STREAMS, LENGTH = 0.95, 120, 1000


def ever_missed(follow, truth_of, *, seed, looks):
    """Share of streams in which an adversary who looks at ``looks`` finds the truth outside at least once."""
    rng = np.random.default_rng(seed)
    truth = truth_of(np.arange(1, LENGTH + 1) / LENGTH)
    average = np.cumsum(truth) / np.arange(1, LENGTH + 1)
    missed = 0
    for _ in range(STREAMS):
        right = np.cumsum(rng.random(LENGTH) < truth)
        ends = ((n, follow(int(right[n - 1]), int(n), level=LEVEL)) for n in looks)
        missed += any(not iv.low <= average[n - 1] <= iv.high for n, iv in ends)
    return missed / STREAMS


EVERY = range(20, LENGTH + 1, 7)


def constant(t):
    return np.full(t.shape, 0.8)


def rising(t):
    return 0.2 + 0.75 * t


def test_a_stream_watched_throughout_never_escapes_its_sequence_more_often_than_alpha(lab):
    assert ever_missed(share_sequence, constant, seed=1, looks=EVERY) <= lab.allowed(0.05, STREAMS)


def test_a_share_that_rises_during_training_stays_inside_its_sequence(lab):
    assert ever_missed(moving_share_sequence, rising, seed=2, looks=EVERY) <= lab.allowed(0.05, STREAMS)


def test_an_interval_for_one_look_is_caught_when_looked_at_throughout(lab):
    assert ever_missed(binomial_interval, constant, seed=1, looks=EVERY) > 2 * lab.allowed(0.05, STREAMS)


def test_a_mean_watched_throughout_stays_inside_its_sequence(lab):
    rng = np.random.default_rng(3)
    missed = 0
    for _ in range(STREAMS):
        x = rng.gamma(2.0, 0.35, LENGTH)
        n = np.arange(1, LENGTH + 1)
        mean = np.cumsum(x) / n
        sd = np.sqrt(np.maximum(np.cumsum(x * x) / n - mean**2, 0))
        ends = (mean_sequence(mean[i - 1], sd=sd[i - 1], n=i, level=LEVEL) for i in range(50, LENGTH + 1, 10))
        missed += any(not iv.low <= 0.7 <= iv.high for iv in ends)
    assert missed / STREAMS <= lab.allowed(0.05, STREAMS)
