"""A laboratory whose truth is known: runs with planted values, seen through the judge's own protocol."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from leonids.claims.evidence import RunFacts, Units, Window
from leonids.claims.measure import Measure
from leonids.claims.prediction import Beyond, Expect, Hypothesis, Prediction

PLANNED = 200


@dataclass
class Lab:
    """Evidence by hand: facts per arm, and all rows of (run, metric, split) ever measured."""

    facts: dict[str, list[RunFacts]] = field(default_factory=dict)
    rows: dict[tuple[str, str, str], Units] = field(default_factory=dict)

    def runs(self, arm, *, prediction):
        return tuple(self.facts.get(arm, ()))

    def units(self, run, *, metric, tokens, split, window: Window):
        rows = self.rows.get((run, metric, split))
        if rows is None:
            return None
        keep = (rows.steps >= window.first_step) & (rows.steps <= window.last_step)
        return Units(rows.totals[keep], rows.counts[keep], rows.steps[keep], rows.keys[keep], rows.unit)

    def last_step(self, run, *, split, by):
        steps = [u.steps[u.steps <= by] for (name, _, where), u in self.rows.items() if (name, where) == (run, split)]
        return max((int(s.max()) for s in steps if s.size), default=None)

    def run(self, arm, seed, *, done=PLANNED, **facts):
        entry = RunFacts(f"{arm}-s{seed}", arm, seed, PLANNED, done, facts.pop("grade", "sealed"), **facts)
        self.facts.setdefault(arm, []).append(entry)
        return entry.run

    def stream(self, run, values, *, metric="loss", tokens_a_step=50):
        """One row a training step, ``values`` being per-token means of steps 1, 2, ..."""
        values = np.asarray(values, dtype=float)
        counts = np.full(values.size, float(tokens_a_step))
        steps = np.arange(1, values.size + 1)
        self.rows[run, metric, "train"] = Units(values * counts, counts, steps, np.zeros_like(steps), "steps")

    def review(self, run, totals, *, metric="match", counts=None, step=PLANNED, split="validation"):
        """One row an example at one review; further reviews are added."""
        totals = np.asarray(totals, dtype=float)
        counts = np.ones_like(totals) if counts is None else np.asarray(counts, dtype=float)
        new = (totals, counts, np.full(totals.size, step), np.arange(totals.size))
        old = self.rows.get((run, metric, split))
        if old is not None:
            new = tuple(
                np.concatenate(pair) for pair in zip((old.totals, old.counts, old.steps, old.keys), new, strict=True)
            )
        self.rows[run, metric, split] = Units(*new, "examples")

    @staticmethod
    def matches(right, n):
        return np.r_[np.ones(right), np.zeros(n - right)]


def predict(id="P", *, metric="match", arm="a", expect=None, beyond=None, when=None, **more):
    """A prediction with little to write: measure options are taken out of ``more``."""
    options = {k: more.pop(k) for k in ("tokens", "split", "versus", "seed", "within", "points") if k in more}
    measure = Measure(metric=metric, arm=arm, **(when or {"final": True}), **options)
    return Prediction(id=id, says="so", measure=measure, expect=Expect(**expect), beyond=beyond, **more)


@pytest.fixture(scope="session")
def lab():
    return Lab


@pytest.fixture(scope="session")
def make():
    return predict


@pytest.fixture(scope="session")
def family():
    def of(*predictions):
        return {"H": Hypothesis(claim="c", predictions=tuple(predictions))}

    return of


@pytest.fixture(scope="session")
def both_refute():
    return Beyond(below="refutes", above="refutes")
