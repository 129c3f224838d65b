"""The only source of randomness: one program, read by several interpreters.

A universe is a function that receives a ``Chance`` and calls ``choose``, ``lit`` and ``latent``. What these
do depends on who is asking: ``Sample`` draws, ``Reading`` follows a text, ``Replay`` follows a list of
choices. So sampling, scoring and enumerating are one program, and the floor is the generator read backwards.

Rules that the program keeps: text order is choice order; nothing is drawn and thrown away; the weights of
each choice are known before it is made.
"""

import math
import random
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat, starmap
from typing import Protocol, TypeVar, final

from leonids.errors import SpecError
from leonids.records import Emission

T = TypeVar("T")

emission_of = partial(tuple.__new__, Emission)
"""An ``Emission`` of the tuple of its fields, at half the time of the class's own constructor."""


@final
@dataclass(frozen=True, slots=True)
class Site:
    """A place where something is chosen: the options' texts and their probabilities, which sum to 1.

    An option's text begins with its own leading space or separator, so that tokenizers do not merge
    characters across two choices.
    """

    name: str
    options: tuple[str, ...]
    weights: tuple[float, ...]
    cumulative: tuple[float, ...] = field(init=False, repr=False, compare=False)
    surprisals: tuple[float, ...] = field(init=False, repr=False, compare=False)
    emissions: tuple[Emission, ...] = field(init=False, repr=False, compare=False)
    even: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.options or len(self.options) != len(self.weights):
            raise SpecError(
                f"site {self.name!r} has {len(self.options)} options and {len(self.weights)} weights",
                rule="R5: every option has one weight",
                way_out="give as many weights as options",
            )
        total = math.fsum(self.weights)
        if not (min(self.weights) > 0 and abs(total - 1) <= 1e-9):
            raise SpecError(
                f"the weights of site {self.name!r} are {list(self.weights)} and sum to {total:.6g}",
                rule="R5: weights are above 0 and sum to 1",
                way_out="divide each weight by their sum",
            )
        if len({"", *self.options}) <= len(self.options):
            unclear = [text for text in self.options if not text or self.options.count(text) > 1]
            raise SpecError(
                f"site {self.name!r} offers the text {unclear[0]!r}",
                rule="R3: a text has exactly one derivation, so what can be chosen is never empty and never the same",
                way_out="write each option differently",
            )
        running, cumulative = 0.0, []
        for weight in self.weights:
            running += weight
            cumulative.append(running)
        cumulative[-1] = 1.0
        object.__setattr__(self, "cumulative", tuple(cumulative))
        object.__setattr__(self, "even", len(set(self.weights)) == 1)
        surprisals = tuple(-math.log(w) for w in self.weights)
        object.__setattr__(self, "surprisals", surprisals)
        # What a choice among all options emits is the same every time: made once, shared by all derivations.
        emitted = (Emission(text, self.name, i, 0, surprisals[i]) for i, text in enumerate(self.options))
        object.__setattr__(self, "emissions", tuple(emitted))

    @property
    def collision(self) -> float:
        """The probability that two choices made apart are the same one: the sum of the squared weights."""
        return math.fsum(weight * weight for weight in self.weights)

    def drawn(self, point: float) -> Emission:
        """Return what the option that a point in [0, 1) falls on emits, where all options are on offer."""
        return self.emissions[bisect_right(self.cumulative, point)]

    def surprisal_nats(self, option: int, without: tuple[int, ...] = ()) -> float:
        """Return -ln P(option) when the options in ``without`` are not on offer."""
        if not without:
            return self.surprisals[option]
        if self.even:
            return math.log(len(self.options) - len(without))
        return self.surprisals[option] + math.log1p(-math.fsum([self.weights[i] for i in without]))

    def emission(self, option: int, without: tuple[int, ...] = ()) -> Emission:
        """Return what choosing ``option`` emits when the options in ``without`` are not on offer."""
        if not without:
            return self.emissions[option]
        nats = self.surprisal_nats(option, without)
        return emission_of((self.options[option], self.name, option, len(without), nats))

    def option_at(self, point: float, without: Sequence[int] = ()) -> int:
        """Return the option that a point in [0, 1) falls on; ``without``, in rising order, are skipped."""
        if without and self.even:
            place = option = int(point * (len(self.options) - len(without)))
            while (moved := place + bisect_right(without, option)) > option:
                option = moved
            return option
        if without:
            weights, cumulative = self.weights, self.cumulative
            point *= 1.0 - math.fsum([weights[i] for i in without])
            for gone in without:
                if gone and cumulative[gone - 1] > point:
                    break
                point += weights[gone]
            option = bisect_right(cumulative, point, 0, len(cumulative) - 1)
            if option not in without:
                return option
            # Rounding ended on the edge of an option that is not on offer: take the nearest that is.
            return min((i for i in range(len(weights)) if i not in without), key=lambda i: abs(i - option))
        return bisect_right(self.cumulative, point)


def site(name: str, weighted: dict[str, float]) -> Site:
    """Return a site over ``weighted`` options, leaving out those of weight 0 and dividing by the sum."""
    kept = {option: weight for option, weight in weighted.items() if weight > 0}
    total = math.fsum(kept.values())
    return Site(name, tuple(kept), tuple(weight / total for weight in kept.values()))


def add_literal(emissions: list[Emission], text: str) -> None:
    """Add deterministic text to a derivation, joined to what is before it: tokenizers may merge across the two."""
    if emissions and emissions[-1].site is None:
        text = emissions.pop().text + text
    if text:
        emissions.append(Emission(text))


class Chance(Protocol):
    """What a universe's program may ask for."""

    def choose(self, at: Site, without: tuple[int, ...] = ()) -> int:
        """Choose an option at a site, emit its text, and return its index.

        ``without`` are options that are not on offer, in rising order: all that were chosen at this site before.
        """
        ...

    def lit(self, text: str) -> None:
        """Emit text that is not chosen."""
        ...

    def latent(self, at: Site) -> int:
        """Choose without emitting: the text shows it only through what the program writes afterwards."""
        ...


@final
class Sample:
    """Draws every choice from a random generator and keeps the derivation."""

    __slots__ = ("emissions", "latents", "point")

    def __init__(self, generator: random.Random) -> None:
        self.point = generator.random
        self.emissions: list[Emission] = []
        self.latents: list[tuple[str, int]] = []

    def choose(self, at: Site, without: tuple[int, ...] = ()) -> int:
        """Draw an option by its weight and record it."""
        if without:
            option = at.option_at(self.point(), without)
            self.emissions.append(at.emission(option, without))
        else:
            option = bisect_right(at.cumulative, self.point())
            self.emissions.append(at.emissions[option])
        return option

    def points(self, count: int) -> list[float]:
        """Return the next points in [0, 1), one for each of ``count`` choices that the caller makes and records."""
        return list(starmap(self.point, repeat((), count)))

    def lit(self, text: str) -> None:
        """Record deterministic text."""
        add_literal(self.emissions, text)

    def latent(self, at: Site) -> int:
        """Draw an option that leaves no text of its own."""
        option = at.option_at(self.point())
        self.latents.append((at.name, option))
        return option


@final
class Branch(Exception):
    """Raised by ``Replay`` and ``Reading`` where the next choice is open; carries the possible options."""

    def __init__(self, options: tuple[int, ...]) -> None:
        self.options = options


@final
class Replay:
    """Follows a list of choices and adds up their nats; beyond its end it raises ``Branch``."""

    __slots__ = ("_choices", "_position", "nats", "parts")

    def __init__(self, choices: tuple[int, ...]) -> None:
        self._choices = choices
        self._position = 0
        self.nats = 0.0
        self.parts: list[str] = []

    def _next(self, at: Site, without: tuple[int, ...]) -> int:
        if self._position == len(self._choices):
            raise Branch(tuple(i for i in range(len(at.options)) if i not in without))
        option = self._choices[self._position]
        self._position += 1
        self.nats += at.surprisal_nats(option, without)
        return option

    def choose(self, at: Site, without: tuple[int, ...] = ()) -> int:
        """Take the next listed choice and emit its text."""
        option = self._next(at, without)
        self.parts.append(at.options[option])
        return option

    def lit(self, text: str) -> None:
        """Emit deterministic text."""
        self.parts.append(text)

    def latent(self, at: Site) -> int:
        """Take the next listed choice silently."""
        return self._next(at, ())


@final
class Dead(Exception):
    """Raised by ``Reading`` when the text is not what the program would write."""


@final
class Reading:
    """Follows a text: at each choice only the options that the text continues with are possible."""

    __slots__ = ("_choices", "_position", "_text", "cursor", "emissions")

    def __init__(self, text: str, choices: tuple[int, ...] = ()) -> None:
        self._text = text
        self._choices = list(choices)
        self._position = 0
        self.cursor = 0
        self.emissions: list[Emission] = []

    @property
    def choices(self) -> tuple[int, ...]:
        """The choices taken so far."""
        return tuple(self._choices)

    def choose(self, at: Site, without: tuple[int, ...] = ()) -> int:
        """Take the option that the text shows; raise ``Branch`` if several fit and ``Dead`` if none does."""
        if self._position == len(self._choices):
            fitting = tuple(
                i
                for i, option in enumerate(at.options)
                if i not in without and self._text.startswith(option, self.cursor)
            )
            if not fitting:
                raise Dead
            if len(fitting) > 1:
                raise Branch(fitting)
            self._choices.append(fitting[0])
        option = self._choices[self._position]
        self._position += 1
        self.cursor += len(at.options[option])
        self.emissions.append(at.emission(option, without))
        return option

    def lit(self, text: str) -> None:
        """Check that the text goes on with ``text``."""
        if not self._text.startswith(text, self.cursor):
            raise Dead
        self.cursor += len(text)
        add_literal(self.emissions, text)

    def latent(self, at: Site) -> int:
        """Refuse: a text alone does not show a latent; sum over its branches instead (floor.oracle)."""
        raise TypeError(f"a Reading cannot see the latent {at.name!r}")


def enumerate_all(program: Callable[[Chance], T]) -> Iterator[tuple[T, Replay]]:
    """Yield every outcome of ``program`` with its replay (nats and text). For small universes only."""
    stack: list[tuple[int, ...]] = [()]
    while stack:
        prefix = stack.pop()
        replay = Replay(prefix)
        try:
            outcome = program(replay)
        except Branch as branch:
            stack.extend((*prefix, option) for option in reversed(branch.options))
        else:
            yield outcome, replay


def derivations(program: Callable[[Chance], T], text: str) -> Iterator[tuple[T, tuple[Emission, ...]]]:
    """Yield every derivation of ``text`` under ``program``: one for a text of an unambiguous universe."""
    stack: list[tuple[int, ...]] = [()]
    while stack:
        reading = Reading(text, stack.pop())
        try:
            outcome = program(reading)
        except Branch as branch:
            stack.extend((*reading.choices, option) for option in branch.options)
        except Dead:
            continue
        else:
            if reading.cursor == len(text):
                yield outcome, tuple(reading.emissions)
