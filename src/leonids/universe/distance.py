"""How far a split is from training: divergence of atoms and of compounds, exactly, from the programs' weights.

The divergence of two distributions P and Q is 1 - sum of p^a q^(1 - a), 0 where they are equal and 1 where they
share nothing; a = 0.5 for atoms and 0.1 for compounds, which asks only that a compound of Q occurs in P
(Keysers et al. 2020, "Measuring Compositional Generalization", arXiv 1912.09713). Atoms are steps with their
parameters, and words. Compounds are pairs of successive steps, and the length of the list with the depth.
"""

import math
from collections import defaultdict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeAlias, final

from leonids.universe.program import Pipelines, State, Step
from leonids.universe.skills import ENDS
from leonids.universe.splits import family_of
from leonids.universe.universe import Universe

Counts: TypeAlias = dict[Hashable, float]
"""Expected occurrences an example."""

ATOM_EXPONENT, COMPOUND_EXPONENT = 0.5, 0.1


@final
@dataclass(frozen=True, slots=True)
class Distance:
    """Divergences of a split from training, each 0 to 1."""

    split: str
    atoms: float
    compounds: float


def divergence(train: Mapping[Hashable, float], other: Mapping[Hashable, float], *, exponent: float) -> float:
    """Return 1 - sum of p^a q^(1 - a) for two tables of counts, each divided by its sum.

    >>> divergence({"a": 1.0}, {"b": 2.0}, exponent=0.5)
    1.0
    """
    whole, whole_other = sum(train.values()), sum(other.values())
    common = (
        (count / whole) ** exponent * (other[key] / whole_other) ** (1 - exponent)
        for key, count in train.items()
        if key in other
    )
    return round(max(0.0, 1.0 - math.fsum(common)), 12)


@final
class _Walk:
    """Expected counts of steps, pairs of steps and depths, by running through the states once in order of depth."""

    def __init__(self, pipelines: Pipelines) -> None:
        self.steps: Counts = defaultdict(float)
        self.pairs: Counts = defaultdict(float)
        self.depths: dict[int, float] = defaultdict(float)
        self._pipelines = pipelines
        reached: dict[State, float] = defaultdict(float)
        reached[State()] = 1.0
        for state in sorted(pipelines.sites, key=lambda state: state.depth):
            self._leave(state, reached)

    def _leave(self, state: State, reached: dict[State, float]) -> None:
        at = self._pipelines.sites[state]
        for step, weight in zip(at.steps, at.site.weights, strict=True):
            mass = reached[state] * weight
            self.steps[step.text] += mass
            if step.skill.gives in ENDS:
                self.depths[state.depth] += mass
                if step.skill.gives == "fork":
                    self._fork(step, state, mass)
                continue
            following = self._pipelines.after(state, step)
            reached[following] += mass
            then = self._pipelines.sites[following]
            for later, share in zip(then.steps, then.site.weights, strict=True):
                self.pairs[step.text, later.text] += mass * share

    def _fork(self, fork: Step, state: State, mass: float) -> None:
        at = self._pipelines.branches[state.kind]
        for step, weight in zip(at.steps, at.site.weights, strict=True):
            self.steps[step.text] += 2 * mass * weight
            self.pairs[fork.text, step.text] += 2 * mass * weight


def _atoms_and_compounds(universe: Universe, split: str) -> tuple[Counts, Counts]:
    walk = _Walk(universe.prompts(split).pipelines)
    spec = family_of(universe.spec, split).spec
    names = universe.names(split)
    length = sum(count * share for count, share in spec.items.items())
    words: Counts = {("word", name): length / len(names) for name in names}
    shapes: Counts = {(n, depth): p * q for n, p in spec.items.items() for depth, q in walk.depths.items() if p * q > 0}
    return walk.steps | words, walk.pairs | shapes


def distance(universe: Universe, split: str) -> Distance:
    """Return how far ``split`` is from training. Raises ``SpecError`` where the universe has no such split.

    Bins of the hash are left out: train, validation and test have distance 0.
    """
    train, other = _atoms_and_compounds(universe, "train"), _atoms_and_compounds(universe, split)
    return Distance(
        split,
        divergence(train[0], other[0], exponent=ATOM_EXPONENT),
        divergence(train[1], other[1], exponent=COMPOUND_EXPONENT),
    )
