"""From a universe's choices to a tokenizer's tokens: the exact floor of every token, in nats.

A choice among options o with probabilities P(o), each a tuple of tokens: token i of the chosen o* costs
-ln(mass of options that share o*[:i+1] / mass that share o*[:i]). Where other options go on after o* has
ended, "it ends here" costs -ln(P(o*) / mass that share all of o*) and is paid by the next token, which is the
one that shows it. Deterministic text costs nothing. By the chain rule the costs add up to -ln P(text).

An answer is one choice among the oracle's texts, each with its end token, so no answer is a prefix of another.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Protocol, TypeAlias, final

from tokenizers import Tokenizer as HuggingFaceTokenizer

from leonids.errors import FloorError
from leonids.records import ROLES, Emission, Example, Role
from leonids.universe.chance import Site
from leonids.universe.splits import TRANSFER
from leonids.universe.universe import Universe

PROMPT, STRUCTURE, COPIED, DECIDED, END = range(len(ROLES))

RENAMING = ("train", "transfer:renamed")


class Tokenizer(Protocol):
    """What the floor needs of a tokenizer."""

    end_id: int
    vocabulary: int

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


@final
class OptionTable:
    """The options of one site as tokens, with the mass of every prefix."""

    def __init__(self, options: Sequence[tuple[int, ...]], weights: Sequence[float]) -> None:
        self.options = tuple(options)
        self.weights = tuple(weights)
        self.mass: dict[tuple[int, ...], float] = defaultdict(float)
        self.going_on: dict[tuple[int, ...], dict[int, float]] = defaultdict(lambda: defaultdict(float))
        common = 0
        while len({tokens[common] if common < len(tokens) else None for tokens in self.options}) == 1:
            if common == len(self.options[0]):
                break
            common += 1
        after = Counter(tokens[common : common + 1] for tokens in self.options)
        self._common = common
        self._free = (0.0,) * common
        self._shown = tuple(
            bool(tokens[common:]) and after[tokens[common : common + 1]] == 1 for tokens in self.options
        )
        for tokens, weight in zip(self.options, self.weights, strict=True):
            for i in range(len(tokens) + 1):
                self.mass[tokens[:i]] += weight
                if i < len(tokens):
                    self.going_on[tokens[:i]][tokens[i]] += weight

    def costs(self, option: int, without: tuple[int, ...] = ()) -> tuple[tuple[float, ...], float]:
        """Return the nats of each token of ``option``, and the nats of its ending there (paid by the next token)."""
        tokens = self.options[option]
        masses = []
        taken: Sequence[int] = without
        for i in range(len(tokens) + 1):
            prefix = tokens[:i]
            taken = [other for other in taken if self.options[other][:i] == prefix] if taken else ()
            gone = math.fsum([self.weights[other] for other in taken]) if taken else 0.0
            masses.append(self.mass[prefix] - gone)
        costs = tuple(max(0.0, math.log(a / b)) for a, b in pairwise(masses))
        return costs, max(0.0, math.log(masses[-1] / self.weights[option]))

    def costs_of(self, emission: Emission) -> tuple[tuple[float, ...], float]:
        """Return the costs of what was chosen. One token tells most options apart from all others, and pays all."""
        option = emission.option
        if emission.without and self._shown[option]:
            rest = len(self.options[option]) - self._common - 1
            return (*self._free, emission.nats, *(0.0,) * rest), 0.0
        return self.costs(option, emission.without)

    def goes_on_with(self, option: int, token: int) -> bool:
        """Return whether another option continues ``option``'s tokens with ``token``."""
        return token in self.going_on.get(self.options[option], {})


Priced: TypeAlias = tuple[tuple[int, ...], tuple[float, ...], float, OptionTable | None]
"""A choice's tokens, their nats, what its ending there costs the next token, and its table."""


def role_at(offsets: tuple[int, int], roles: Sequence[int]) -> int:
    """Return the role of a token over characters ``offsets``: decided, else copied, else structure."""
    inside = set(roles[offsets[0] : offsets[1]])
    for role in (DECIDED, COPIED):
        if role in inside:
            return role
    return STRUCTURE


def equal_token_share(universe: Universe, tokenizer: Tokenizer) -> float:
    """Return the share of words that ``transfer:renamed`` replaces by words of as many tokens.

    Raises ``SpecError`` where the universe has no such split.
    """
    written = [[universe.spec.layout.name.replace("{}", name) for name in universe.names(split)] for split in RENAMING]
    counts = [(len(tokenizer.encode(a)[0]), len(tokenizer.encode(b)[0])) for a, b in zip(*written, strict=True)]
    return sum(a == b for a, b in counts) / len(counts)


@final
class TokenFloor:
    """Encodes a universe's examples with one tokenizer, with the exact floor of every token.

    Raises ``FloorError`` at construction where the tokenizer does not round-trip or merges characters across
    two choices, naming the place.
    """

    def __init__(self, universe: Universe, tokenizer: Tokenizer, *, checked_examples: int = 100) -> None:
        self._tokenizer = tokenizer
        self._universe = universe
        self._sites = {at.name: at for at in universe.sites()}
        self._families: set[str] = set()
        self._plain: dict[tuple[str, int], Priced] = {}
        self._tables: dict[str, OptionTable] = {}
        self._ids = lru_cache(maxsize=100_000)(self._encode_text)
        for index in range(checked_examples):
            self._check(universe.example("train", 0, index))

    def _encode_text(self, text: str) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...]]:
        ids, offsets = self._tokenizer.encode(text)
        return tuple(ids), tuple(offsets)

    def _check(self, example: Example) -> None:
        for text in (example.prompt, example.completion):
            _, offsets = self._ids(text)
            covered = sum(end - start for start, end in offsets)
            if covered != len(text) or "".join(text[a:b] for a, b in offsets) != text:
                raise FloorError(
                    f"the tokenizer does not give {text!r} back",
                    rule="a floor needs a lossless tokenizer",
                    way_out="use another tokenizer",
                )
        whole = self._ids(example.prompt)[0]
        joined: tuple[int, ...] = ()
        for emission in joined_literals(example.trace):
            joined += self._ids(emission.text)[0]
            if whole[: len(joined)] != joined:
                raise FloorError(
                    f"the tokenizer merges characters across the end of {emission.text!r} in {example.prompt!r}",
                    rule="R7: a choice's text must begin and end where tokens do",
                    way_out="let the next choice begin with a space, or change the layout",
                )

    def _table(self, at: Site) -> OptionTable:
        table = self._tables.get(at.name)
        if table is None:
            table = OptionTable([self._ids(option)[0] for option in at.options], at.weights)
            self._tables[at.name] = table
        return table

    def _priced(self, emission: Emission) -> Priced:
        if emission.site is None:
            tokens = self._ids(emission.text)[0]
            return tokens, (0.0,) * len(tokens), 0.0, None
        key = (emission.site, emission.option)
        found = self._plain.get(key) if not emission.without else None
        if found is None:
            table = self._table(self._sites[emission.site])
            costs, ends = table.costs_of(emission)
            found = (table.options[emission.option], costs, ends, table)
            if not emission.without:
                self._plain[key] = found
        return found

    def encode(self, example: Example) -> Encoded:
        """Return the example's tokens, roles and floors. Raises ``FloorError`` where the floor is not exact."""
        if example.split in TRANSFER and example.split not in self._families:
            self._sites |= {at.name: at for at in self._universe.sites(example.split)}
            self._families.add(example.split)
        ids: list[int] = [self._tokenizer.end_id]
        floor = [0.0]
        pending = 0.0
        blocked: tuple[OptionTable, int] | None = None
        for emission in joined_literals(example.trace):
            tokens, costs, ends, table = self._priced(emission)
            if blocked is not None and blocked[0].goes_on_with(blocked[1], tokens[0]):
                raise FloorError(
                    f"the token at {emission.text!r} may end one choice or go on with it",
                    rule="R7: what follows a choice must not look like a longer option of it",
                )
            floor += costs
            if pending:
                floor[len(ids)] += pending
            ids += tokens
            pending, blocked = ends, (table, emission.option) if table is not None and ends > 0 else None
        prompt_tokens = len(ids)
        answer_ids, answer_roles, answer_floor, nexts = self._answer(example)
        answer_floor[0] += pending
        return Encoded(
            ids=ids + answer_ids,
            roles=[PROMPT] * prompt_tokens + answer_roles,
            floor_nats=floor + answer_floor,
            prompt_tokens=prompt_tokens,
            nexts={prompt_tokens + at: shares for at, shares in nexts.items()},
        )

    def _answer(self, example: Example) -> tuple[list[int], list[int], list[float], dict[int, dict[int, float]]]:
        end = self._tokenizer.end_id
        ids, offsets = self._ids(example.completion)
        roles = _character_roles(example)
        token_roles = [role_at(span, roles) for span in offsets] + [END]
        tokens = (*ids, end)
        if len(example.answers) == 1:
            return list(tokens), token_roles, [0.0] * len(tokens), {}
        texts = list(example.answers)
        table = OptionTable([(*self._ids(text)[0], end) for text in texts], [example.answers[text] for text in texts])
        costs, _ = table.costs(texts.index(example.completion))
        nexts = {}
        for i in range(len(tokens)):
            options = table.going_on[tokens[:i]]
            if len(options) > 1:
                mass = math.fsum(options.values())
                nexts[i] = {token: share / mass for token, share in options.items()}
        return list(tokens), token_roles, list(costs), nexts


def joined_literals(trace: Sequence[Emission]) -> list[Emission]:
    """Return the trace with neighbouring deterministic texts joined, since tokenizers may merge across those."""
    joined: list[Emission] = []
    for emission in trace:
        if emission.site is None and joined and joined[-1].site is None:
            joined[-1] = Emission(joined[-1].text + emission.text)
        elif emission.text:
            joined.append(emission)
    return joined


def _character_roles(example: Example) -> list[int]:
    ids: dict[Role, int] = {role: i for i, role in enumerate(ROLES)}
    first = len(example.prompt)
    roles = [STRUCTURE] * len(example.completion)
    for span in example.spans:
        for position in range(max(span.start - first, 0), span.end - first):
            roles[position] = ids[span.role]
    return roles
