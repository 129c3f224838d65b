"""A universe: ``Universe.example(split, seed, index)`` is a pure function, for any worker, in any order."""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import final

from leonids.digest import Json, digest_of, keyed_random
from leonids.errors import SpecError
from leonids.records import Example
from leonids.universe.blueprint import Disorder, UniverseSpec, written
from leonids.universe.catalog import Things, knowledge_nats, make_things
from leonids.universe.chance import Chance, Sample, Site, derivations
from leonids.universe.disorder import Answers
from leonids.universe.program import Task
from leonids.universe.prompts import Prompts
from leonids.universe.render import answer_json, parse_answer, spans_of
from leonids.universe.skills import SKILLS
from leonids.universe.splits import TRANSFER, belongs, family_of

ATTEMPTS = 100_000
"""More draws than any split of a universe worth its name needs; beyond it the split is taken to be empty."""


def _check_distribution(name: str, distribution: Mapping[int, float]) -> None:
    if not distribution or min(distribution) < 1 or min(distribution.values()) < 0:
        raise SpecError(
            f"{name} is {dict(distribution)}",
            rule="R5: it maps counts from 1 up to probabilities",
            way_out="write it as {3: 0.4, 4: 0.6}",
        )
    total = sum(distribution.values())
    if not abs(total - 1) <= 1e-9:
        raise SpecError(
            f"the probabilities of {name} sum to {total:.6g}",
            rule="R5: weights sum to 1",
            way_out="divide each by their sum",
        )


def _check_skills(spec: UniverseSpec) -> None:
    known = [skill.name for skill in SKILLS]
    pairs = [part for pair in spec.transfer.hold_out for part in pair.split(">")]
    if len(pairs) != 2 * len(spec.transfer.hold_out):
        raise SpecError(f"hold_out is {list(spec.transfer.hold_out)}", rule="a pair is written filter>sum")
    named = {**spec.skills, **spec.transfer.related, **dict.fromkeys(pairs, 1.0)}
    for name, weight in named.items():
        if name not in known:
            raise SpecError(f"unknown skill {name!r}", rule=f"skills are {', '.join(known)}")
        if not 0 <= weight < math.inf:
            raise SpecError(
                f"skill {name!r} has weight {weight}",
                rule="R5: weights of skills are 0 or more, and divided by their sum",
                way_out="write 0 to leave it out",
            )


@final
class Universe:
    """A universe made ready from its spec. All its methods are pure."""

    def __init__(self, spec: UniverseSpec) -> None:
        _check_distribution("items", spec.items)
        _check_distribution("depths", spec.depths)
        _check_skills(spec)
        self.spec = spec
        self.things = make_things(spec.catalog, most=max(spec.items))
        self._prompts = Prompts(family_of(spec, "train"), self.things)
        self._families: dict[str, tuple[Things, Prompts, Answers]] = {}
        self.answers = Answers(spec, self.things, stream=self.stream)
        if spec.transfer.renamed:
            self._family("transfer:renamed")
        unused = [key for key in spec.disorder.paraphrase if key not in spec.wording]
        if unused:
            raise SpecError(f"the paraphrase dial words {unused[0]!r}", rule="it rewords keys of wording")

    def __reduce__(self) -> tuple[type["Universe"], tuple[UniverseSpec]]:
        """Pickle the spec alone: workers of any kind make the same universe of it."""
        return Universe, (self.spec,)

    def to_json(self) -> Json:
        """Return the spec as JSON: what the digest is taken of."""
        return written(self.spec)

    @cached_property
    def digest(self) -> str:
        """The universe's identity: SHA-256 of its spec as canonical JSON."""
        return digest_of("leonids/universe/1", self.to_json())

    @cached_property
    def stream(self) -> str:
        """The identity of the prompts: universes that differ in dials alone draw the same prompts.

        So the arms of a study differ in nothing but their dials, example by example. The paraphrase dial splits
        the share of a step among its phrases, so the same draw means the same step in other words.
        """
        bare = replace(self.spec, universe="", about="", disorder=Disorder())
        return digest_of("leonids/stream/1", written(bare))

    @cached_property
    def _kinds(self) -> frozenset[str]:
        """The kinds of answers, those of the transfer families among them."""
        named = {**self.spec.skills, **self.spec.transfer.related}
        used = [skill for skill in SKILLS if named.get(skill.name, 0) > 0]
        return frozenset(skill.gives for skill in used) | {"nothing" for skill in used if skill.nothing}

    @cached_property
    def knowledge_nats(self) -> float:
        """What a model must store to know the universe's stored properties: items x ln(values)."""
        return knowledge_nats(self.spec.catalog)

    def _family(self, split: str) -> tuple[Things, Prompts, Answers]:
        if split not in TRANSFER:
            return self.things, self._prompts, self.answers
        if split not in self._families:
            family = family_of(self.spec, split)
            things = make_things(family.spec.catalog, most=max(self.spec.items))
            prompts = Prompts(family, things, prefix=f"{split}/")
            self._families[split] = things, prompts, Answers(family.spec, things, stream=self.stream)
        return self._families[split]

    def transfer_splits(self) -> tuple[str, ...]:
        """Return the transfer splits that this universe has."""
        return tuple(split for split in TRANSFER if self._refusal(split) is None)

    def _refusal(self, split: str) -> SpecError | None:
        try:
            self._family(split)
        except SpecError as error:
            return error
        return None

    def prompts(self, split: str = "train") -> Prompts:
        """Return the program of a split's prompts. Raises ``SpecError`` where there is no such family."""
        return self._family(split)[1]

    def answers_of(self, split: str) -> Answers:
        """Return the answer program of a split. Raises ``SpecError`` where there is no such family."""
        return self._family(split)[2]

    def names(self, split: str = "train") -> tuple[str, ...]:
        """Return the words of a split's items."""
        return self._family(split)[0].names

    def sites(self, split: str = "train") -> tuple[Site, ...]:
        """Return every place of a split's prompts where something is chosen."""
        return self.prompts(split).sites()

    def draw_task(self, chance: Chance) -> Task:
        """Run the training program of a whole prompt."""
        return self._prompts.draw_task(chance)

    def example(self, split: str, seed: int, index: int) -> Example:
        """Return example ``index`` of a split's stream ``seed``.

        Raises ``UsageError`` for an unknown split and ``SpecError`` where the split holds no meaning at all.
        """
        _, prompts, answers = self._family(split)
        for attempt in range(ATTEMPTS):
            chance = Sample(keyed_random(self.stream, split, seed, index, attempt))
            task = prompts.draw_task(chance)
            meaning = task.meaning
            if belongs(meaning, split):
                return self._write(chance, answers, task, meaning, key=(split, seed, index))
        raise SpecError(
            f"no meaning of universe {self.spec.universe!r} lies in split {split!r}",
            rule=f"{ATTEMPTS} draws found none",
            way_out="make the universe larger",
        )

    def _write(
        self, chance: Sample, answers: Answers, task: Task, meaning: str, *, key: tuple[str, int, int]
    ) -> Example:
        trace = tuple(chance.emissions)
        prompt = "".join([emission.text for emission in trace])
        split, seed, index = key
        answer = answers.write(chance, task, run=seed)
        return Example(
            universe=self.digest,
            split=split,
            seed=seed,
            index=index,
            prompt=prompt,
            completion=answer.text,
            answer=answer_json(answer.value),
            spans=spans_of(prompt, answer.pieces),
            trace=trace,
            answers=answers.dictionary(task, run=seed, written=answer),
            meaning=meaning,
            tags={
                "skill": task.steps[-1].skill.name,
                "pipeline": ">".join(step.skill.name for step in task.steps),
                "depth": len(task.steps),
                "items": len(task.items),
                "format": answer.format.name,
            },
        )

    def parse_prompt(self, prompt: str, *, split: str = "train") -> tuple[tuple[Task, float], ...]:
        """Return every derivation of a split's ``prompt`` with its nats: one for a prompt of this universe."""
        found = derivations(self.prompts(split).draw_task, prompt)
        return tuple((task, sum(e.nats for e in emissions)) for task, emissions in found)

    def parse_answer(self, text: str) -> Json:
        """Return the JSON value of an answer in any of the universe's formats, or None."""
        for fmt in self.answers.formats:
            value = parse_answer(text, fmt, kinds=self._kinds)
            if value is not None:
                return value
        return None
