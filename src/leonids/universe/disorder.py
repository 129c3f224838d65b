"""The control arms: each dial draws something that the prompt does not show.

An answer is a small program of latent choices. Sampling draws one branch; the oracle runs all branches and
adds up equal texts, so dials that touch the same symbol are combined exactly and never added. The paraphrase
dial is not here: it words the prompt and leaves the answer alone (program.py).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations
from typing import final

from leonids.digest import keyed_random
from leonids.errors import SpecError
from leonids.universe.blueprint import AnswerFormat, Conflict, Noise, UniverseSpec
from leonids.universe.catalog import Things
from leonids.universe.chance import Chance, Site, enumerate_all
from leonids.universe.program import Task, evaluate
from leonids.universe.render import Pieces, answer_pieces, answer_text
from leonids.universe.skills import WIDEST_OBJECT, Meanings
from leonids.universe.values import Record, Value


@final
@dataclass(frozen=True, slots=True)
class Written:
    """An answer as it was written: its value, its format, and its text, whole and in pieces with their roles.

    ``right`` are the values that it was drawn from: one for each meaning that the question may have.
    """

    right: tuple[Value, ...]
    value: Value
    format: AnswerFormat
    text: str
    pieces: Pieces


def _even(name: str, count: int) -> Site:
    return Site(name, tuple(map(str, range(count))), tuple(1 / count for _ in range(count)))


@final
class Answers:
    """The answer program of a universe, with its dials. ``run`` is the data seed of the run that is asked about.

    ``settled`` says that no dial leaves anything open: each prompt has one answer.
    """

    def __init__(self, spec: UniverseSpec, things: Things, *, stream: str) -> None:
        disorder = spec.disorder
        self._things = things
        self._stream = stream
        self.formats: tuple[AnswerFormat, ...] = tuple(f.format for f in disorder.formats) or (spec.answer,)
        self._format_site = (
            Site("answer.format", tuple(f.name for f in self.formats), tuple(f.share for f in disorder.formats))
            if disorder.formats
            else None
        )
        self._conflict = disorder.conflict
        self.meanings: tuple[Meanings, ...] = (Meanings(things, things.definitions),)
        self._meaning_site: Site | None = None
        if disorder.conflict is not None:
            self._add_conflict(disorder.conflict)
        self._noise = disorder.noise
        self._noise_sites: tuple[Site, Site] | None = None
        if disorder.noise is not None:
            self._add_noise(disorder.noise)
        self._order_sites = (
            tuple(_even(f"answer.order{k}", math.factorial(k)) for k in range(1, WIDEST_OBJECT + 1))
            if disorder.key_order
            else ()
        )
        drawn = disorder.conflict is not None and disorder.conflict.per == "example"
        self.settled = not (drawn or disorder.formats or disorder.noise or disorder.key_order)
        # Prompts are many, the values that they ask for few.
        self._shares = lru_cache(maxsize=10_000)(self._shares_of)

    def _add_conflict(self, conflict: Conflict) -> None:
        word = conflict.word
        if word not in self._things.definitions:
            raise SpecError(
                f"the conflict dial gives {word!r} two meanings",
                rule=f"it must be a defined word: {', '.join(self._things.definitions) or 'there is none'}",
            )
        self.meanings += (Meanings(self._things, {**self._things.definitions, word: conflict.other}),)
        if not 0 < conflict.share < 1:
            raise SpecError(
                f"the conflict dial has the share {conflict.share}",
                rule="R5: a share is above 0 and below 1",
                way_out="leave the dial away, or define the word by its other meaning",
            )
        if conflict.per == "example":
            shares = (1 - conflict.share, conflict.share)
            self._meaning_site = Site("answer.meaning", ("defined", "other"), shares)

    def _add_noise(self, noise: Noise) -> None:
        least, greatest = noise.numbers
        if not 0 <= least < greatest:
            raise SpecError(f"the noise dial draws from {list(noise.numbers)}", rule="it is a range such as [0, 12]")
        right = Site("answer.noise", ("right", "wrong"), (1 - noise.share, noise.share))
        self._noise_sites = (right, _even("answer.wrong", greatest - least))

    def _meaning_of(self, run: int) -> int:
        """Return the meaning that holds where none is drawn for each example."""
        if self._conflict is None or self._conflict.per == "example":
            return 0
        return int(keyed_random(self._stream, "meaning", run).random() < self._conflict.share)

    def value(self, task: Task, *, run: int = 0) -> Value:
        """Return the answer under the definitions of a run."""
        return evaluate(task, self.meanings[self._meaning_of(run)])

    def _right(self, task: Task, run: int) -> tuple[Value, ...]:
        """Return the answer under each meaning that the task may have: several where the conflict dial draws one."""
        if self._meaning_site is not None and self._conflict is not None and task.speaks_of(self._conflict.word):
            return tuple([evaluate(task, meaning) for meaning in self.meanings])
        return (self.value(task, run=run),)

    def write(self, chance: Chance, task: Task, *, run: int = 0) -> Written:
        """Write the answer of ``task``, drawing what the dials leave open."""
        return self._write(chance, self._right(task, run))

    def _write(self, chance: Chance, right: tuple[Value, ...]) -> Written:
        meaning = chance.latent(self._meaning_site) if self._meaning_site is not None and len(right) > 1 else 0
        fmt = chance.latent(self._format_site) if self._format_site is not None else 0
        value = self._shuffled(chance, self._noisy(chance, right[meaning]))
        pieces = answer_pieces(value, self.formats[fmt])
        return Written(right, value, self.formats[fmt], "".join([text for text, _ in pieces]), pieces)

    def _noisy(self, chance: Chance, value: Value) -> Value:
        """Return ``value``, or with the dial's share one of the other numbers of its set."""
        if self._noise is None or self._noise_sites is None or not isinstance(value, int):
            return value
        least, greatest = self._noise.numbers
        if not least <= value <= greatest or chance.latent(self._noise_sites[0]) == 0:
            return value
        wrong = least + chance.latent(self._noise_sites[1])
        return wrong if wrong < value else wrong + 1

    def _shuffled(self, chance: Chance, value: Value) -> Value:
        """Return an object with its keys in one of their orders, each equally likely."""
        if not self._order_sites or not isinstance(value, Record) or not value.entries:
            return value
        order = chance.latent(self._order_sites[len(value.entries) - 1])
        entries = list(permutations(value.entries))[order]
        return Record(entries, fixed=False)

    def dictionary(self, task: Task, *, run: int = 0, written: Written | None = None) -> Mapping[str, float]:
        """Return P(answer text | prompt), equal texts added up. Sums to 1.

        ``written`` is one of the answers, where it is at hand: without dials it is the only one.
        """
        if self.settled:
            return {written.text if written else answer_text(self.value(task, run=run), self.formats[0]): 1.0}
        return dict(self._shares(written.right if written else self._right(task, run)))

    def _shares_of(self, right: tuple[Value, ...]) -> Mapping[str, float]:
        shares: dict[str, float] = {}
        for answer, replay in enumerate_all(lambda chance: self._write(chance, right)):
            shares[answer.text] = shares.get(answer.text, 0.0) + math.exp(-replay.nats)
        return shares
