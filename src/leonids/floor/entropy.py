"""The entropy of a universe's texts: exact by enumeration where it is small, else Monte Carlo with its error."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

from leonids.digest import keyed_random
from leonids.errors import UsageError
from leonids.records import Example
from leonids.universe.chance import Site, enumerate_all
from leonids.universe.disorder import Answers
from leonids.universe.prompts import Prompts
from leonids.universe.splits import share_of
from leonids.universe.universe import Universe

TWIN_DRAWS = 1000


@final
@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its standard error; ``exact`` when nothing was sampled (standard error 0)."""

    mean: float
    standard_error: float
    n: int
    exact: bool


def estimate(values: Iterable[float]) -> Estimate:
    """Return the mean of sampled ``values`` with its standard error. Raises ``UsageError`` for fewer than two."""
    listed = list(values)
    n = len(listed)
    if n < 2:
        raise UsageError(f"{n} values were given", rule="an estimate needs two or more")
    mean = math.fsum(listed) / n
    variance = math.fsum((value - mean) ** 2 for value in listed) / (n - 1)
    return Estimate(mean, math.sqrt(variance / n), n, exact=False)


def entropy_of(shares: Iterable[float]) -> float:
    """Return the entropy of a distribution, in nats.

    >>> round(entropy_of([0.5, 0.5]), 6)
    0.693147
    """
    return 0.0 - math.fsum(share * math.log(share) for share in shares if share > 0)


def prompt_nats(example: Example) -> float:
    """Return -ln P(prompt): the sum of its choices, since a prompt has exactly one derivation."""
    return math.fsum(emission.nats for emission in example.trace)


def answer_nats(example: Example) -> float:
    """Return -ln P(completion | prompt), branches that write the same text added up."""
    return 0.0 - math.log(example.answers[example.completion])


def surprisal_nats(universe: Universe, prompt: str, completion: str, *, run: int = 0) -> float:
    """Return -ln P(text) of any text under a universe, read back from the text alone; infinite outside of it.

    ``run`` is the data seed, for universes in which a word's meaning is drawn once a run.
    """
    total = 0.0
    for task, nats in universe.parse_prompt(prompt):
        total += math.exp(-nats) * universe.answers.dictionary(task, run=run).get(completion, 0.0)
    return math.inf if total <= 0 else -math.log(total)


def enumerated(universe: Universe) -> dict[tuple[str, str], float]:
    """Return P(prompt, completion) of every text of a tiny universe; the shares sum to 1."""
    shares: dict[tuple[str, str], float] = {}
    for task, replay in enumerate_all(universe.draw_task):
        prompt = "".join(replay.parts)
        for completion, share in universe.answers.dictionary(task).items():
            key = (prompt, completion)
            shares[key] = shares.get(key, 0.0) + share * math.exp(-replay.nats)
    return shares


@final
class _Twins:
    """Draws what two draws would have in common: each choice by its squared weight.

    ``alike`` is the product of the sums of squares along the way, so ``alike`` times the probability of this draw is
    the squared probability of its text, and the mean of ``alike`` is the sum of p^2 over texts.
    """

    __slots__ = ("_point", "alike")

    def __init__(self, *key: str | int) -> None:
        self._point = keyed_random(*key).random
        self.alike = 1.0

    def choose(self, at: Site, without: tuple[int, ...] = ()) -> int:
        squares = [0.0 if i in without else weight * weight for i, weight in enumerate(at.weights)]
        offered = 1.0 - math.fsum(at.weights[i] for i in without)
        whole = math.fsum(squares)
        self.alike *= whole / offered**2
        point = self._point() * whole
        for option, square in enumerate(squares):
            point -= square
            if square and point < 0:
                return option
        return max(i for i, square in enumerate(squares) if square)

    def lit(self, text: str) -> None:
        pass

    def latent(self, at: Site) -> int:
        raise TypeError(f"a prompt does not show the latent {at.name!r}")


@final
@dataclass(frozen=True, slots=True)
class Repeats:
    """How often a split repeats itself: ``collision`` is the probability that two of its examples have one text.

    Among n examples n (n - 1) / 2 x ``collision`` pairs are expected to be equal, for any n. While they are few that
    is the number of examples whose text was there before.
    """

    split: str
    collision: Estimate

    def pairs(self, n: int) -> Estimate:
        """Return the expected number of pairs of equal texts among ``n`` examples."""
        pairs = n * (n - 1) / 2
        return Estimate(
            pairs * self.collision.mean, pairs * self.collision.standard_error, self.collision.n, self.collision.exact
        )

    def examples_at(self, share: float) -> float:
        """Return the n of which ``share`` are repeats: pairs(n) / n = share. Infinite where none can be told."""
        return 1 + 2 * share / self.collision.mean if self.collision.mean > 0 else math.inf


def repeats(universe: Universe, split: str, *, draws: int = TWIN_DRAWS) -> Repeats:
    """Return how often a split repeats itself, as expected over the hash that parts meanings into bins.

    Exact where each prompt has one answer. Else prompts are still summed exactly, and the probability that two equal
    prompts get equal answers is averaged over prompts drawn by p^2, with the standard error of that average (a ratio
    of means). The mean of exp(-nats) over fresh examples would be unbiased as well, but has a heavy tail: the
    shortest lists are rare and make up most of the sum.
    Raises ``UsageError`` for a split that does not exist, ``SpecError`` for one that the universe does not have.
    """
    share = share_of(split)
    prompts, answers = universe.prompts(split), universe.answers_of(split)
    collision = prompts.collision() / share
    if answers.settled:
        return Repeats(split, Estimate(collision, 0.0, 0, exact=True))
    alike, equal = zip(*(_twin(prompts, answers, (universe.stream, split, i)) for i in range(draws)), strict=True)
    mass = math.fsum(alike)
    ratio = math.fsum(a * e for a, e in zip(alike, equal, strict=True)) / mass
    spread = math.sqrt(math.fsum((a * (e - ratio)) ** 2 for a, e in zip(alike, equal, strict=True))) / mass
    return Repeats(split, Estimate(collision * ratio, collision * spread, draws, exact=False))


def _twin(prompts: Prompts, answers: Answers, key: tuple[str | int, ...]) -> tuple[float, float]:
    twins = _Twins("twins", *key)
    task = prompts.draw_task(twins)
    return twins.alike, math.fsum(share * share for share in answers.dictionary(task).values())
