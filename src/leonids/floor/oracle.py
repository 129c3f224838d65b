"""The best possible predictor of a universe: its floors, its ceilings, and what they bound."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import final

from leonids.digest import canonical_json
from leonids.errors import UsageError
from leonids.floor.entropy import Estimate, entropy_of, estimate, prompt_nats
from leonids.floor.tokens import PROMPT, TokenFloor
from leonids.records import Example
from leonids.universe.universe import Universe


@final
@dataclass(frozen=True, slots=True)
class FloorReport:
    """The floors of a universe, over the same tokens that a loss is taken over.

    ``answer_nats`` averages the exact entropy of each prompt's answers, so the luck of the answer's draw is not
    in it. ``nats_per_token`` divides by the mean count of the named tokens. Ceilings are best expected matches.
    """

    tokens: str
    tokenizer: str
    nats_per_example: Estimate
    tokens_per_example: Estimate
    nats_per_token: float
    prompt_nats: Estimate
    answer_nats: Estimate
    ceiling: Estimate
    meaning_ceiling: Estimate


def ceiling(example: Example) -> float:
    """Return the greatest P(answer text | prompt): no predictor matches the text more often."""
    return max(example.answers.values())


def meaning_ceiling(universe: Universe, example: Example) -> float:
    """Return the greatest P(answer value | prompt), formats of the same value added up."""
    if len(example.answers) == 1:
        return 1.0
    shares: dict[bytes, float] = {}
    for text, share in example.answers.items():
        value = canonical_json(universe.parse_answer(text))
        shares[value] = shares.get(value, 0.0) + share
    return max(shares.values())


def survey(
    universe: Universe, floor: TokenFloor, examples: Sequence[Example], *, tokens: str, tokenizer: str
) -> FloorReport:
    """Return the floors of a universe over ``examples`` of its training stream.

    Raises ``UsageError`` for a token set other than ``all`` and ``answer``.
    """
    if tokens not in ("all", "answer"):
        raise UsageError(f"no floor of tokens {tokens!r}", rule="tokens are all or answer")
    prompts = [prompt_nats(example) for example in examples]
    answers = [entropy_of(example.answers.values()) for example in examples]
    chosen = answers if tokens == "answer" else [p + a for p, a in zip(prompts, answers, strict=True)]
    counts = []
    for example in examples:
        encoded = floor.encode(example)
        counts.append(sum(1 for role in encoded.roles[1:] if tokens == "all" or role != PROMPT))
    per_example, per_count = estimate(chosen), estimate(counts)
    return FloorReport(
        tokens=tokens,
        tokenizer=tokenizer,
        nats_per_example=per_example,
        tokens_per_example=per_count,
        nats_per_token=per_example.mean / per_count.mean,
        prompt_nats=estimate(prompts),
        answer_nats=estimate(answers),
        ceiling=estimate(ceiling(example) for example in examples),
        meaning_ceiling=estimate(meaning_ceiling(universe, example) for example in examples),
    )


def match_bounds(answer_loss_nats: float) -> tuple[float, float]:
    """Return the least sampled match and the least greedy match that an answer loss per example allows.

    Consistent universes only. Sampled match >= exp(-L) by Jensen's inequality. A greedy miss needs
    P(gold) <= 1/2, so by Markov's inequality greedy match >= 1 - L / ln 2.
    """
    return math.exp(-answer_loss_nats), max(0.0, 1 - answer_loss_nats / math.log(2))


@final
@dataclass(frozen=True, slots=True)
class Rung:
    """The answer's floor, in nats per example, for a learner that knows only what ``knows`` says.

    ``correction_nats`` is the share of the estimate that corrects its bias; where it is not small, take the
    rung for rough. Names are counted as drawn evenly from the catalog without repetition, which is an upper
    bound where a lexical property thins them out.
    """

    knows: str
    nats: float
    correction_nats: float


_LETTERS = re.compile(r"[A-Za-z]+")


def _shape(example: Example, names: frozenset[str]) -> tuple[str, int]:
    """Return the answer with its names left open, and how many names it has."""
    found = 0

    def opened(match: re.Match[str]) -> str:
        nonlocal found
        if match[0].lower() not in names:
            return match[0]
        found += 1
        return "*"

    return _LETTERS.sub(opened, example.completion), found


def conditional_entropy(pairs: Iterable[tuple[str, str]]) -> tuple[float, float]:
    """Return the entropy of the second given the first, from samples, and how much of it corrects the bias.

    Plug-in entropies of each context with the correction of Miller and Madow (1955): (outcomes - 1) / (2 n).
    """
    contexts: dict[str, Counter[str]] = defaultdict(Counter)
    for context, outcome in pairs:
        contexts[context][outcome] += 1
    n = sum(counts.total() for counts in contexts.values())
    plain = math.fsum(
        counts.total() / n * entropy_of(count / counts.total() for count in counts.values())
        for counts in contexts.values()
    )
    correction = sum(len(counts) - 1 for counts in contexts.values()) / (2 * n)
    return plain + correction, correction


def ladder(universe: Universe, examples: Sequence[Example]) -> tuple[Rung, ...]:
    """Return the plateaus to expect: the answer's floor for learners that know more and more of the question.

    ``examples`` are of the training stream; the more, the smaller what corrects the estimates.
    """
    n, names = len(examples), frozenset(universe.things.names)
    shapes = [_shape(example, names) for example in examples]
    free = math.fsum(math.log(len(names) - i) for _, count in shapes for i in range(count)) / n
    contexts = (
        ("the format", lambda example: ""),
        ("the type of question", lambda example: str(example.tags["skill"])),
        ("the pipeline", lambda example: example.meaning.partition("|")[2]),
    )
    rungs = []
    for knows, context in contexts:
        nats, correction = conditional_entropy(
            (context(example), shape) for example, (shape, _) in zip(examples, shapes, strict=True)
        )
        rungs.append(Rung(knows, nats + free, correction))
    floor = math.fsum(entropy_of(example.answers.values()) for example in examples) / n
    return (*rungs, Rung("everything", floor, 0.0))
