"""The entropy of a universe's texts: exact by enumeration where it is small, else Monte Carlo with its error."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

from leonids.errors import UsageError
from leonids.records import Example
from leonids.universe.chance import enumerate_all
from leonids.universe.universe import Universe


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
