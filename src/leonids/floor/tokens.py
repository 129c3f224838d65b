"""From a universe's choices to a tokenizer's tokens: the exact floor of every token, in nats.

A choice among options o with probabilities P(o), each a tuple of tokens: token i of the chosen o* costs
-ln(mass of options that share o*[:i+1] / mass that share o*[:i]). Where other options go on after o* has
ended, "it ends here" costs -ln(P(o*) / mass that share all of o*) and is paid by the next token, which is the
one that shows it. Deterministic text costs nothing. By the chain rule the costs add up to -ln P(text).

An answer is one choice among the oracle's texts, each with its end token, so no answer is a prefix of another.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import Protocol, TypeAlias, final

from tokenizers import Tokenizer as HuggingFaceTokenizer

from leonids.errors import FloorError
from leonids.floor.options import OptionTable, Order
from leonids.records import ROLES, Example, Role
from leonids.universe.chance import Site
from leonids.universe.splits import TRANSFER
from leonids.universe.universe import Universe

RECURRING_CHARACTERS = 36
"""Answers that are longer hardly occur twice: to remember them would take memory, gigabytes where lists are long."""

PROMPT, STRUCTURE, COPIED, DECIDED, END = range(len(ROLES))


class Tokenizer(Protocol):
    """What the floor needs of a tokenizer."""

    end_id: int
    vocabulary: int

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text that tokens spell."""
        ...

    def encode(self, text: str) -> tuple[Sequence[int], Sequence[tuple[int, int]]]:
        """Return token ids and, for each, the characters ``[start, end)`` that it spells."""
        ...


@final
class FastTokenizer:
    """A Hugging Face ``tokenizer.json`` as the floor needs it; ``end_id`` closes every answer."""

    def __init__(self, tokenizer: HuggingFaceTokenizer, end_id: int) -> None:
        self._tokenizer = tokenizer
        self.end_id = end_id
        self.vocabulary = int(tokenizer.get_vocab_size(with_added_tokens=True))

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text that tokens spell."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))

    def encode(self, text: str) -> tuple[Sequence[int], Sequence[tuple[int, int]]]:
        """Return token ids and character offsets, without special tokens."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return encoding.ids, encoding.offsets


@final
@dataclass(frozen=True, slots=True)
class Encoded:
    """One example as tokens; all sequences have length T.

    ``ids[0]`` is the end token as context: every token of the text is predicted, and ``ids[0]`` never counts.
    ``roles`` are indexes in ``records.ROLES``. ``floor_nats[t]`` is the least expected cost of ``ids[t]`` given
    what came before. ``prompt_tokens`` counts ``ids[0]``. ``nexts[t]`` is the true distribution of the token at
    t, present where more than one token is possible in the answer.
    """

    ids: list[int]
    roles: list[int]
    floor_nats: list[float]
    prompt_tokens: int
    nexts: dict[int, dict[int, float]]


def token_roles(offsets: Sequence[tuple[int, int]], roles: bytes) -> list[int]:
    """Return the role of each token, by the characters it spells: decided, else copied, else structure.

    That is the greatest index: ``ROLES`` has them in this order.
    """
    return [max(roles[start:end] or _NOTHING) for start, end in offsets]


def encode_foreign(example: Example, tokenizer: Tokenizer) -> Encoded:
    """Return the tokens and roles of an example whose program nobody knows: its floors are NaN, which is not 0.

    Raises ``FloorError`` where the tokenizer does not give the example's text back.
    """
    parts = [tokenizer.encode(text) for text in (example.prompt, example.completion)]
    for text, (ids, _) in zip((example.prompt, example.completion), parts, strict=True):
        _check_given_back(tokenizer, ids, text)
    (prompt, _), (answer, offsets) = parts
    ids = [tokenizer.end_id, *prompt, *answer, tokenizer.end_id]
    prompt_tokens = 1 + len(prompt)
    return Encoded(
        ids=ids,
        roles=[PROMPT] * prompt_tokens + token_roles(offsets, _character_roles(example)) + [END],
        floor_nats=[0.0] + [math.nan] * (len(ids) - 1),
        prompt_tokens=prompt_tokens,
        nexts={},
    )


def _check_given_back(tokenizer: Tokenizer, ids: Sequence[int], text: str) -> None:
    if tokenizer.decode(ids) != text:
        raise FloorError(
            f"the tokenizer does not give {text!r} back",
            rule="R7: a floor needs a lossless tokenizer",
            way_out="use another tokenizer",
        )


@final
class TokenFloor:
    """Encodes a universe's examples with one tokenizer, with the exact floor of every token.

    Raises ``FloorError`` at construction where the tokenizer does not round-trip or merges characters across
    two choices, naming the place.
    """

    def __init__(self, universe: Universe, tokenizer: Tokenizer, *, checked_examples: int = 100) -> None:
        self._tokenizer = tokenizer
        self._universe = universe
        self._sites: dict[str, Site] = {}
        self._tables: dict[str, OptionTable] = {}
        self._ids = lru_cache(maxsize=10_000)(self._encode_text)
        # Counts, and lists of one or two, are the answers of many examples.
        self._answered = lru_cache(maxsize=10_000)(self._answer_tokens)
        self._checked_examples = checked_examples
        self._admit("train")

    def _encode_text(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer.encode(text)[0])

    def _answer_tokens(self, text: str, roles: bytes) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return an answer's tokens with the end token, and their roles."""
        ids, offsets = self._tokenizer.encode(text)
        return (*ids, self._tokenizer.end_id), (*token_roles(offsets, roles), END)

    def _admit(self, split: str) -> None:
        """Take in the sites of a split's program, after checking its first texts."""
        for index in range(self._checked_examples):
            self._check(self._universe.example(split, 0, index))
        self._sites |= {at.name: at for at in self._universe.sites(split)}

    def _check(self, example: Example) -> None:
        for text in (example.prompt, example.completion):
            _check_given_back(self._tokenizer, self._ids(text), text)
        whole = self._ids(example.prompt)
        joined: tuple[int, ...] = ()
        for emission in example.trace:
            joined += self._ids(emission.text)
            if whole[: len(joined)] != joined:
                raise FloorError(
                    f"the tokenizer merges characters across the end of {emission.text!r} in {example.prompt!r}",
                    rule="R7: a choice's text must begin and end where tokens do",
                    way_out="let the next choice begin with a space, or change the layout",
                )

    def _table(self, name: str, split: str) -> OptionTable:
        """Return the table of a site, made when the site is first met; a new family's texts are checked first."""
        if name not in self._sites and split in TRANSFER:
            self._admit(split)
        at = self._sites[name]
        table = self._tables[name] = OptionTable([self._ids(option) for option in at.options], at.weights)
        return table

    def encode(self, example: Example) -> Encoded:
        """Return the example's tokens, roles and floors. Raises ``FloorError`` where the floor is not exact."""
        ids: list[int] = [self._tokenizer.end_id]
        floor = [0.0]
        tables = self._tables
        chosen: Orders = {}
        ended: Ended | None = None
        for text, site, option, gone, nats in example.trace:
            ending: Ended | None = None
            if site is None:
                tokens = self._ids(text)
                costs: Sequence[float] = (0.0,) * len(tokens)
            else:
                table = tables.get(site) or self._table(site, example.split)
                if not gone:
                    tokens, costs, ends = table.plain[option]
                elif (around := table.around[option]) is None:
                    tokens = table.options[option]
                    costs, ends = table.costs(option, _order(example, site, chosen), gone)
                else:
                    tokens, before, after = around
                    if ended is None:
                        # What is below, at half the time: long lists have hundreds of these.
                        ids += tokens
                        floor += before
                        floor.append(nats)
                        floor += after
                        continue
                    costs, ends = (*before, nats, *after), 0.0
                if ends:
                    ending = (table, option, ends)
            if ended is not None:
                costs = _paid(ended, tokens, costs, text)
            ended = ending
            ids += tokens
            floor += costs
        prompt_tokens = len(ids)
        answer_ids, answer_roles, answer_costs, nexts = self._answer(example)
        if ended is not None:
            answer_costs = _paid(ended, answer_ids, answer_costs, example.completion)
        ids += answer_ids
        floor += answer_costs
        return Encoded(
            ids=ids,
            roles=[*[PROMPT] * prompt_tokens, *answer_roles],
            floor_nats=floor,
            prompt_tokens=prompt_tokens,
            nexts={prompt_tokens + at: shares for at, shares in nexts.items()},
        )

    def prompt_nexts(self, example: Example) -> list[dict[int, float]]:
        """Return the true distribution of each of the prompt's tokens.

        It is empty where a token may go on with the choice before it or begin another: none is worked out there.
        """
        found: list[dict[int, float]] = []
        chosen: Orders = {}
        ends = 0.0
        for text, site, option, gone, _ in example.trace:
            if site is None:
                nexts, after = [{token: 1.0} for token in self._ids(text)], 0.0
            else:
                table = self._tables.get(site) or self._table(site, example.split)
                order = _order(example, site, chosen)
                nexts, after = table.nexts(option, order, gone), table.costs(option, order, gone)[1]
            found += [{}, *nexts[1:]] if ends else nexts
            ends = after
        return found

    def _answer(
        self, example: Example
    ) -> tuple[Sequence[int], tuple[int, ...], Sequence[float], dict[int, dict[int, float]]]:
        end = self._tokenizer.end_id
        recurs = len(example.completion) <= RECURRING_CHARACTERS
        written = self._answered if recurs else self._answer_tokens
        tokens, roles = written(example.completion, _character_roles(example))
        if len(example.answers) == 1:
            return tokens, roles, (0.0,) * len(tokens), {}
        encode = self._ids if recurs else self._encode_text
        answers = tuple([((*encode(text), end), share) for text, share in example.answers.items()])
        costs, nexts = _along(tokens, answers)
        return tokens, roles, costs, nexts


@lru_cache(maxsize=10_000)
def _along(
    tokens: tuple[int, ...], answers: tuple[tuple[tuple[int, ...], float], ...]
) -> tuple[tuple[float, ...], dict[int, dict[int, float]]]:
    """Return the nats of each of an answer's tokens, and the true distribution wherever more than one is possible.

    ``answers`` are all possible ones with their shares; each ends with the end token, so none begins another.
    """
    costs, nexts = [0.0] * len(tokens), {}
    for i, token in enumerate(tokens):
        shares: dict[int, float] = defaultdict(float)
        for other, share in answers:
            shares[other[i]] += share
        if len(shares) > 1:
            mass = math.fsum(shares.values())
            costs[i] = math.log(mass / shares[token])
            nexts[i] = {other: share / mass for other, share in shares.items()}
            answers = tuple([row for row in answers if row[0][i] == token])
    if len(answers) > 1:
        raise FloorError(
            f"the tokenizer writes two answers with the tokens {list(tokens)}",
            rule="R7: a floor needs a lossless tokenizer",
            way_out="use another tokenizer",
        )
    return tuple(costs), nexts


Orders: TypeAlias = dict[str, Order]
"""What an example chose at each site that was asked for."""


def _order(example: Example, site: str, known: Orders) -> Order:
    """Return what an example chose at a site, in order; ``known`` are those that were asked for before."""
    if site not in known:
        chosen = [emission.option for emission in example.trace if emission.site == site]
        known[site] = dict(zip(chosen, count(), strict=False))
    return known[site]


Ended: TypeAlias = tuple[OptionTable, int, float]
"""A choice that a longer option could still go on from: its table, its option, and what its ending costs."""


def _paid(ended: Ended, tokens: Sequence[int], costs: Sequence[float], text: str) -> Sequence[float]:
    """Return ``costs`` with the end of the choice before them, which their first token shows."""
    table, option, nats = ended
    if table.goes_on_with(option, tokens[0]):
        raise FloorError(
            f"the token at {text!r} may end one choice or go on with it",
            rule="R7: what follows a choice must not look like a longer option of it",
            way_out="let what follows begin with a space or a separator",
        )
    return costs[0] + nats, *costs[1:]


_ROLE_BYTE: dict[Role, bytes] = {role: bytes((i,)) for i, role in enumerate(ROLES)}

_NOTHING = _ROLE_BYTE["structure"]
"""What a token that spells no character is."""


def _character_roles(example: Example) -> bytes:
    """Return the index of the role of each of the answer's characters, which the spans after the prompt's cover."""
    own = [_ROLE_BYTE[role] * (end - start) for start, end, role in example.spans[1:]]
    return b"".join(own)
