"""The options of one place as a tokenizer's tokens: what each costs, token by token, in nats.

With the mathematics of ``floor.tokens``, which puts the choices of a text together.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TypeAlias, final

from leonids.errors import FloorError

Order: TypeAlias = Mapping[int, int]
"""The options that an example chose at a site, each with how many it had chosen there before.

Of these, the first ``gone`` are not on offer when it chooses again.
"""

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
        mass: dict[tuple[int, ...], float] = defaultdict(float)
        self._sharing: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for option, (tokens, weight) in enumerate(zip(self.options, self.weights, strict=True)):
            for i in range(len(tokens) + 1):
                mass[tokens[:i]] += weight
                self._sharing[tokens[:i]].append(option)
        self._groups = tuple(
            tuple((self._sharing[tokens[:i]], mass[tokens[:i]]) for i in range(len(tokens) + 1))
            for tokens in self.options
        )
        common = max(len(prefix) for prefix, group in self._sharing.items() if len(group) == len(self.options))
        # One token tells most options apart from all others, and pays all: the zeros before it and after it.
        self.around = tuple(
            (tokens, (0.0,) * common, (0.0,) * (len(tokens) - common - 1))
            if len(tokens) > common and len(self._sharing[tokens[: common + 1]]) == 1
            else None
            for tokens in self.options
        )
        self._even = len(set(self.weights)) == 1
        self.plain = tuple((tokens, *self.costs(option)) for option, tokens in enumerate(self.options))

    def costs(self, option: int, order: Order | None = None, gone: int = 0) -> Costs:
        """Return the costs of ``option`` when the first ``gone`` of ``order`` are not on offer."""
        weight = self.weights[option]
        costs, before, same = [], 0.0, 0
        for sharing, mass in self._groups[option]:
            if len(sharing) == same:
                # The same options go on: this token tells nothing.
                costs.append(0.0)
                continue
            if len(sharing) == 1:
                mass = weight
            elif order and gone:
                mass -= self._mass_of(sharing, order, gone)
            if same:
                costs.append(max(0.0, math.log(before / mass)))
            before, same = mass, len(sharing)
        return tuple(costs), max(0.0, math.log(before / weight))

    def _mass_of(self, sharing: Sequence[int], order: Order, gone: int) -> float:
        """Return how probable those of ``sharing`` are together that are not on offer."""
        if self._even and len(sharing) == len(self.options):
            return gone * self.weights[0]
        return math.fsum([self.weights[option] for option in sharing if order.get(option, gone) < gone])

    def nexts(self, option: int, order: Order | None = None, gone: int = 0) -> list[dict[int, float]]:
        """Return the distribution of each token of ``option`` given those before it, as ``costs`` has them.

        Empty where another option ends there: then the token may belong to whatever follows, which no site knows.
        """
        tokens, found, order = self.options[option], [], order or {}
        for i in range(len(tokens)):
            sharing = [other for other in self._sharing[tokens[:i]] if order.get(other, gone) >= gone]
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
