"""The options of one place as a tokenizer's tokens: what each costs, token by token, in nats.

With the mathematics of ``floor.tokens``, which puts the choices of a text together.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TypeAlias, final

from leonids.errors import FloorError

Costs: TypeAlias = tuple[tuple[float, ...], float]
"""The nats of each token of a choice, and the nats of its ending there, which the next token pays."""


@final
class OptionTable:
    """The options of one site as tokens, with the mass of every prefix. Raises ``FloorError`` if two are the same."""

    def __init__(self, options: Sequence[tuple[int, ...]], weights: Sequence[float]) -> None:
        self.options = tuple(options)
        self.weights = tuple(weights)
        if len(set(self.options)) < len(self.options):
            raise FloorError(
                f"the tokenizer writes two options with the tokens {list(Counter(options).most_common(1)[0][0])}",
                rule="R7: a floor needs a lossless tokenizer",
                way_out="use another tokenizer",
            )
        self._mass: dict[tuple[int, ...], float] = defaultdict(float)
        self._sharing: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for option, (tokens, weight) in enumerate(zip(self.options, self.weights, strict=True)):
            for i in range(len(tokens) + 1):
                self._mass[tokens[:i]] += weight
                self._sharing[tokens[:i]].append(option)
        common = max(len(prefix) for prefix, group in self._sharing.items() if len(group) == len(self.options))
        # One token tells most options apart from all others, and pays all: the zeros before it and after it.
        self.around = tuple(
            ((0.0,) * common, (0.0,) * (len(tokens) - common - 1))
            if len(tokens) > common and len(self._sharing[tokens[: common + 1]]) == 1
            else None
            for tokens in self.options
        )
        self._even = len(set(self.weights)) == 1
        self.plain = tuple(self.costs(option) for option in range(len(self.options)))

    def costs(self, option: int, without: Sequence[int] = ()) -> Costs:
        """Return the costs of ``option`` when the options in ``without`` are not on offer."""
        tokens, weight = self.options[option], self.weights[option]
        every = len(self.options)
        costs, before = [], 0.0
        gone = len(without) * weight if self._even else math.fsum([self.weights[other] for other in without])
        out = set(without)
        for i in range(len(tokens) + 1):
            sharing = self._sharing[tokens[:i]]
            if len(sharing) == 1:
                mass = weight
            elif len(sharing) == every:
                mass = self._mass[()] - gone
            else:
                mass = self._mass[tokens[:i]] - math.fsum([self.weights[o] for o in sharing if o in out])
            if i:
                costs.append(max(0.0, math.log(before / mass)))
            before = mass
        return tuple(costs), max(0.0, math.log(before / weight))

    def nexts(self, option: int, without: Sequence[int] = ()) -> list[dict[int, float]]:
        """Return the distribution of each token of ``option`` given those before it, of what is not in ``without``.

        Empty where another option ends there: then the token may belong to whatever follows, which no site knows.
        """
        tokens, found = self.options[option], []
        for i in range(len(tokens)):
            sharing = [other for other in self._sharing[tokens[:i]] if other not in without]
            shares: dict[int, float] = defaultdict(float)
            for other in sharing:
                if len(self.options[other]) > i:
                    shares[self.options[other][i]] += self.weights[other]
            mass = math.fsum(self.weights[other] for other in sharing)
            whole = all(len(self.options[other]) > i for other in sharing)
            found.append({token: share / mass for token, share in shares.items()} if whole else {})
        return found

    def goes_on_with(self, option: int, token: int) -> bool:
        """Return whether another option continues ``option``'s tokens with ``token``."""
        return (*self.options[option], token) in self._sharing
