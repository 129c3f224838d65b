"""The control arms: each dial draws, per example, something that the prompt does not show.

An answer is a small program of latent choices. Sampling draws one branch; the oracle runs all branches and
adds up equal texts, so dials that touch the same symbol are combined exactly and never added.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from leonids.errors import SpecError
from leonids.universe.blueprint import AnswerFormat, Threshold, UniverseSpec
from leonids.universe.catalog import Things
from leonids.universe.chance import Chance, Site, enumerate_all
from leonids.universe.program import Task, evaluate
from leonids.universe.render import answer_text
from leonids.universe.skills import Meanings, Value


@final
@dataclass(frozen=True, slots=True)
class Written:
    """An answer as it was written: its value, its format and its text."""

    value: Value
    format: AnswerFormat
    text: str


@final
class Answers:
    """The answer program of a universe, with its dials."""

    def __init__(self, spec: UniverseSpec, things: Things) -> None:
        disorder = spec.disorder
        self._things = things
        self.formats: tuple[AnswerFormat, ...] = tuple(f.format for f in disorder.formats) or (spec.answer,)
        self._format_site = (
            Site("answer.format", tuple(f.name for f in self.formats), tuple(f.share for f in disorder.formats))
            if disorder.formats
            else None
        )
        self._word = ""
        self._meanings: tuple[Meanings, ...] = (Meanings(things, things.definitions),)
        self._meaning_site: Site | None = None
        if disorder.conflict is not None:
            self._add_conflict(disorder.conflict.word, disorder.conflict.share, disorder.conflict.other)

    def _add_conflict(self, word: str, share: float, other: Threshold) -> None:
        if word not in self._things.definitions:
            raise SpecError(
                f"the conflict dial gives {word!r} two meanings",
                rule=f"it must be a defined word: {', '.join(self._things.definitions) or 'there is none'}",
            )
        self._word = word
        self._meanings += (Meanings(self._things, {**self._things.definitions, word: other}),)
        self._meaning_site = Site("answer.meaning", ("defined", "other"), (1 - share, share))

    def value(self, task: Task) -> Value:
        """Return the answer under the universe's own definitions."""
        return evaluate(task, self._meanings[0])

    def write(self, chance: Chance, task: Task) -> Written:
        """Write the answer of ``task``, drawing what the dials leave open."""
        meaning, fmt = 0, 0
        if self._meaning_site is not None and any(step.parameter.of == self._word for step in task.steps):
            meaning = chance.latent(self._meaning_site)
        if self._format_site is not None:
            fmt = chance.latent(self._format_site)
        value = evaluate(task, self._meanings[meaning])
        return Written(value, self.formats[fmt], answer_text(value, self.formats[fmt]))

    def dictionary(self, task: Task) -> Mapping[str, float]:
        """Return P(answer text | prompt), equal texts added up. Sums to 1."""
        if self._meaning_site is None and self._format_site is None:
            return {answer_text(self.value(task), self.formats[0]): 1.0}
        shares: dict[str, float] = {}
        for written, replay in enumerate_all(lambda chance: self.write(chance, task)):
            shares[written.text] = shares.get(written.text, 0.0) + math.exp(-replay.nats)
        return shares
