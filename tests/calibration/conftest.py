"""Worlds of known truth, drawn many times, and the bound that a count of false verdicts must keep."""

from dataclasses import dataclass

import numpy as np
import pytest

from leonids.claims.evidence import RunFacts, Units, Window
from leonids.claims.judge import judge
from leonids.claims.measure import Measure
from leonids.claims.prediction import Expect, Hypothesis, Prediction

STEPS = 1000
REVIEWS = (0.15, 0.30, 0.50, 0.60, 1.0)


@dataclass
class World:
    """Values per arm: ``reviews[arm]`` is ``[seeds, reviews]``; ``curves[arm]`` is ``[seeds, STEPS]``."""

    reviews: dict[str, np.ndarray] | None = None
    curves: dict[str, np.ndarray] | None = None

    def runs(self, arm, *, prediction):
        n = len((self.reviews or self.curves)[arm])
        return tuple(RunFacts(f"{arm}:{seed}", arm, seed, STEPS, STEPS, "sealed") for seed in range(n))

    def units(self, run, *, metric, tokens, split, window: Window):
        arm, seed = run.split(":")
        if split == "train":
            values = self.curves[arm][int(seed)][window.first_step - 1 : window.last_step]
            steps = np.arange(window.first_step, window.last_step + 1)
        else:
            at = np.array([round(STEPS * review) for review in REVIEWS])
            keep = (at >= window.first_step) & (at <= window.last_step)
            values, steps = self.reviews[arm][int(seed)][keep], at[keep]
        ones = np.ones(values.size)
        return Units(values, ones, steps, np.zeros_like(steps), "steps") if values.size else None

    def last_step(self, run, *, split, by):
        return by


def claim(id, *, arm="a", metric="loss", when=None, expect, beyond=None, split="validation", versus=None, **more):
    measure = Measure(metric=metric, arm=arm, split=split, versus=versus, **(when or {"final": True}))
    return Prediction(id=id, says="so", measure=measure, expect=Expect(**expect), beyond=beyond, **more)


def words_of(world, *claims):
    return [v.word for v in judge({"H": Hypothesis(claim="c", predictions=claims)}, world, at=None)]


def allowance(alpha, draws):
    """Three standard errors above alpha: a correct rule fails this once in 700 seeds, and the seed is fixed."""
    return alpha + 3 * (alpha * (1 - alpha) / draws) ** 0.5


@pytest.fixture(scope="session")
def lab():
    class Tools:
        world, claim, words, reviews, steps = World, staticmethod(claim), staticmethod(words_of), REVIEWS, STEPS
        allowed = staticmethod(allowance)

    return Tools
