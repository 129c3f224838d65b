"""A universe: ``Universe.example(split, seed, index)`` is a pure function, for any worker, in any order."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any, final

from leonids.digest import Json, digest_of, keyed_random
from leonids.errors import SpecError
from leonids.records import Example
from leonids.universe.blueprint import Disorder, UniverseSpec
from leonids.universe.catalog import Item, make_things, stated_values
from leonids.universe.chance import Chance, Sample, Site, derivations, site
from leonids.universe.disorder import Answers
from leonids.universe.program import Pipelines, Step, Task, stop_chances
from leonids.universe.render import answer_json, answer_pieces, parse_answer, spans_of
from leonids.universe.skills import ASKS, SKILLS, Kind
from leonids.universe.splits import belongs

ATTEMPTS = 100_000
"""More draws than any split of a universe worth its name needs; beyond it the split is taken to be empty."""


def _check_distribution(name: str, distribution: Mapping[int, float]) -> None:
    if not distribution or min(distribution) < 1 or min(distribution.values()) < 0:
        raise SpecError(f"{name} is {dict(distribution)}", rule="it maps counts from 1 up to probabilities")
    total = sum(distribution.values())
    if abs(total - 1) > 1e-9:
        raise SpecError(
            f"the probabilities of {name} sum to {total:.6g}",
            rule="R5: weights sum to 1",
            way_out="divide each by their sum",
        )


def _check_skills(spec: UniverseSpec) -> None:
    known = [skill.name for skill in SKILLS]
    for name, weight in spec.skills.items():
        if name not in known:
            raise SpecError(f"unknown skill {name!r}", rule=f"skills are {', '.join(known)}")
        if weight < 0:
            raise SpecError(f"skill {name!r} has weight {weight}", rule="weights are 0 or more")


@final
class Universe:
    """A universe made ready from its spec. All its methods are pure."""

    def __init__(self, spec: UniverseSpec) -> None:
        _check_distribution("items", spec.items)
        _check_distribution("depths", spec.depths)
        _check_skills(spec)
        self.spec = spec
        self.things = make_things(spec.catalog)
        if max(spec.items) > len(self.things.names):
            raise SpecError(
                f"a list may have {max(spec.items)} items", rule=f"the catalog has only {len(self.things.names)} names"
            )
        unknown = set(spec.layout.attributes) ^ set(self.things.position)
        if unknown:
            raise SpecError(
                f"the layout's attributes and the stated properties differ in {sorted(unknown)}",
                rule="each stated property is printed once",
            )
        self.pipelines = Pipelines(spec, self.things)
        self.answers = Answers(spec, self.things)
        names = tuple(spec.layout.name.replace("{}", name) for name in self.things.names)
        self._name_site = Site("name", names, tuple(1 / len(names) for _ in names))
        self._value_sites = tuple(self._value_site(attribute) for attribute in spec.layout.attributes)
        stops = stop_chances(spec.items)
        self._more_sites = {
            count: site(f"more{count}", {spec.layout.last: stop, spec.layout.more: 1 - stop})
            for count, stop in stops.items()
        }

    def to_json(self) -> dict[str, Any]:
        """Return the spec as JSON: what the digest is taken of."""
        return asdict(self.spec)

    @cached_property
    def digest(self) -> str:
        """The universe's identity: SHA-256 of its spec as canonical JSON."""
        return digest_of("leonids/universe/1", _keys_as_text(self.to_json()))

    @cached_property
    def stream(self) -> str:
        """The identity of the prompts: universes that differ in dials alone draw the same prompts.

        So the arms of a study differ in nothing but their dials, example by example.
        """
        bare = replace(self.spec, universe="", about="", disorder=Disorder())
        return digest_of("leonids/stream/1", _keys_as_text(asdict(bare)))

    def _value_site(self, attribute: str) -> Site:
        stated = self.things.stated[self.things.position[attribute]]
        texts = tuple(self.spec.layout.attribute.replace("{}", value) for value in stated_values(stated))
        return Site(f"value.{attribute}", texts, tuple(1 / len(texts) for _ in texts))

    def sites(self) -> tuple[Site, ...]:
        """Return every place of the prompt where something is chosen."""
        steps = tuple(at.site for at in self.pipelines.sites.values())
        return (self._name_site, *self._value_sites, *self._more_sites.values(), *steps)

    def _item(self, chance: Chance, taken: tuple[int, ...]) -> tuple[int, Item]:
        name = chance.choose(self._name_site, tuple(sorted(taken)))
        values: list[str | int] = [""] * len(self.things.stated)
        for attribute, at in zip(self.spec.layout.attributes, self._value_sites, strict=True):
            position = self.things.position[attribute]
            stated = self.things.stated[position]
            option = chance.choose(at)
            values[position] = option + stated.numbers[0] if stated.numbers else stated.values[option]
        return name, Item(self.things.names[name], tuple(values))

    def draw_items(self, chance: Chance) -> tuple[Item, ...]:
        """Run the program of the item list."""
        chance.lit(self.spec.layout.intro)
        items: list[Item] = []
        taken: tuple[int, ...] = ()
        while True:
            name, item = self._item(chance, taken)
            taken += (name,)
            items.append(item)
            at = self._more_sites[len(items)]
            if at.options[chance.choose(at)] == self.spec.layout.last:
                return tuple(items)

    def draw_steps(self, chance: Chance) -> tuple[Step, ...]:
        """Run the program of the pipeline."""
        steps: list[Step] = []
        kind: Kind = "items"
        while True:
            at = self.pipelines.sites[len(steps) + 1, kind]
            steps.append(at.steps[chance.choose(at.site)])
            kind = steps[-1].skill.gives
            if kind in ASKS:
                return tuple(steps)
            chance.lit(self.spec.layout.then)

    def draw_task(self, chance: Chance) -> Task:
        """Run the program of a whole prompt."""
        if self.spec.layout.question_first:
            steps = self.draw_steps(chance)
            chance.lit(self.spec.layout.question_end + " ")
            items = self.draw_items(chance)
        else:
            items = self.draw_items(chance)
            steps = self.draw_steps(chance)
        chance.lit(self.spec.layout.end)
        return Task(items, steps)

    def example(self, split: str, seed: int, index: int) -> Example:
        """Return example ``index`` of a split's stream ``seed``.

        Raises ``UsageError`` for an unknown split and ``SpecError`` where the split holds no meaning at all.
        """
        for attempt in range(ATTEMPTS):
            chance = Sample(keyed_random(self.stream, split, seed, index, attempt))
            task = self.draw_task(chance)
            meaning = task.meaning
            if belongs(meaning, split):
                return self._write(chance, task, meaning, split=split, seed=seed, index=index)
        raise SpecError(
            f"no meaning of universe {self.spec.universe!r} lies in split {split!r}",
            rule=f"{ATTEMPTS} draws found none",
            way_out="make the universe larger",
        )

    def _write(self, chance: Sample, task: Task, meaning: str, *, split: str, seed: int, index: int) -> Example:
        trace = tuple(chance.emissions)
        prompt = "".join(emission.text for emission in trace)
        written = self.answers.write(chance, task)
        return Example(
            universe=self.digest,
            split=split,
            seed=seed,
            index=index,
            prompt=prompt,
            completion=written.text,
            answer=answer_json(written.value),
            spans=spans_of(prompt, answer_pieces(written.value, written.format)),
            trace=trace,
            answers=self.answers.dictionary(task),
            meaning=meaning,
            tags={
                "skill": task.steps[-1].skill.name,
                "pipeline": ">".join(step.skill.name for step in task.steps),
                "depth": len(task.steps),
                "items": len(task.items),
                "format": written.format.name,
            },
        )

    def parse_prompt(self, prompt: str) -> tuple[tuple[Task, float], ...]:
        """Return every derivation of ``prompt`` with its nats: exactly one for a prompt of this universe."""
        found = derivations(self.draw_task, prompt)
        return tuple((task, sum(e.nats for e in emissions)) for task, emissions in found)

    def parse_answer(self, text: str) -> Json:
        """Return the JSON value of an answer in any of the universe's formats, or None."""
        for fmt in self.answers.formats:
            value = parse_answer(text, fmt)
            if value is not None:
                return value
        return None


def _keys_as_text(value: Any) -> Json:
    if isinstance(value, Mapping):
        return {str(key): _keys_as_text(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_keys_as_text(inner) for inner in value]
    return value  # type: ignore[no-any-return]
