"""The items of ``transfer:gym`` as examples: each question once, in a universe's answer format, strictly scored."""

from collections import Counter
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, final

from leonids.digest import digest_of
from leonids.errors import BaseError
from leonids.gym.source import PACKAGE, Source
from leonids.gym.tasks import TASKS, Task
from leonids.records import Example
from leonids.universe.blueprint import written
from leonids.universe.render import answer_json, answer_pieces, answer_text, parse_answer, spans_of
from leonids.universe.splits import GYM
from leonids.universe.universe import Universe
from leonids.universe.values import Value

ATTEMPTS = 1_000
"""Draws in a row of one task of which none can be asked; beyond it the task is taken to be unfit for the base."""

KINDS = ("number", "name", "names")

NO_ANSWER, ASKED, TRAINED, SHOWN = (
    "no answer in one spelling",
    "asked before",
    "a prompt of the universe",
    "the answer is the form shown",
)
"""Why a drawn item is passed over; whoever asks may have reasons of their own. All are counted, none is silent."""

INTRO = "Write the answer like this: "


@final
class Items:
    """The stream ``seed`` of ``transfer:gym`` for a universe; item i is the same whatever is asked before it.

    ``unfit`` says why an example cannot be put to a base, or None. The answer's format is the universe's first one.
    """

    def __init__(
        self,
        universe: Universe,
        source: Source,
        *,
        seed: int,
        unfit: Callable[[Example], str | None] = lambda _: None,
    ) -> None:
        self._universe = universe
        self._source = source
        self._seed = seed
        self._unfit = unfit
        self._format = universe.answers.formats[0]
        self._end = universe.spec.layout.end
        self._kept: list[Example] = []
        self._asked: set[str] = set()
        self._drawn: Counter[str] = Counter()
        self._passed: list[tuple[int, str]] = []
        self.digest = digest_of(
            "leonids/gym/1",
            {
                "source": f"{PACKAGE} {source.version}",
                "tasks": [task.name for task in TASKS],
                "format": written(self._format),
                "end": self._end,
            },
        )

    def example(self, index: int) -> Example:
        """Return item ``index``. Raises ``BaseError`` where a task has no item that can be put to the base."""
        # One after another, since whether a question was asked before depends on all before it.
        while len(self._kept) <= index:
            self._kept.append(self._next(len(self._kept)))
        return self._kept[index]

    def passed_over(self, n: int) -> Mapping[str, int]:
        """Return how many drawn items were passed over for the first ``n``, by reason."""
        return dict(Counter(reason for place, reason in self._passed if place < n))

    def _next(self, index: int) -> Example:
        task = TASKS[index % len(TASKS)]
        reason: str | None = None
        for _ in range(ATTEMPTS):
            question, answer = self._source.draw(task.name, seed=self._seed, index=self._drawn[task.name])
            self._drawn[task.name] += 1
            value = task.read(answer) if isinstance(answer, str) else None
            meaning = blake2b(question.encode(), digest_size=16).hexdigest()
            example = None if value is None else self._example(task, question, value, meaning=meaning, index=index)
            reason = self._refusal(task, question, example)
            if example is not None and reason is None:
                self._asked.add(meaning)
                return example
            self._passed.append((index, reason or NO_ANSWER))
        raise BaseError(
            f"none of {ATTEMPTS} items of {task.name} can be asked",
            rule=f"the last one: {reason}",
            way_out=f"use a base that reads longer prompts, or leave {GYM} out",
        )

    def _refusal(self, task: Task, question: str, example: Example | None) -> str | None:
        if example is None:
            return NO_ANSWER
        if example.meaning in self._asked:
            return ASKED
        if example.completion == answer_text(task.shown, self._format):
            return SHOWN
        if self._universe.parse_prompt(question.rstrip() + self._end):
            return TRAINED
        return self._unfit(example)

    def _example(self, task: Task, question: str, value: Value, *, meaning: str, index: int) -> Example:
        prompt = f"{question.rstrip()}\n{INTRO}{answer_text(task.shown, self._format)}{self._end}"
        pieces = answer_pieces(value, self._format)
        completion = "".join(text for text, _ in pieces)
        return Example(
            universe=self.digest,
            split=GYM,
            seed=self._seed,
            index=index,
            prompt=prompt,
            completion=completion,
            answer=answer_json(value),
            spans=spans_of(prompt, pieces),
            trace=(),
            answers={completion: 1.0},
            meaning=meaning,
            tags={"task": task.name, "distance": task.distance},
        )


def marks(text: str, example: Example, universe: Universe) -> tuple[bool, bool]:
    """Return whether ``text`` is an answer in a format of the universe, and whether it is the right one.

    Right is the right value in one of these formats, character by character: no tolerance, no part of an answer.
    """
    result: Any = example.answer["result"]  # type: ignore[index, call-overload]
    value: Value = tuple(result) if isinstance(result, list) else result
    formats = universe.answers.formats
    right = any(text == answer_text(value, fmt) for fmt in formats)
    return right or any(parse_answer(text, fmt, kinds=KINDS) is not None for fmt in formats), right
