"""The examples of the runs of a pass, encoded once for all runs that see the same ones."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import final

from leonids.digest import canonical_json
from leonids.errors import BaseError, FloorError, SpecError
from leonids.floor.tokens import Encoded, FastTokenizer, TokenFloor, encode_foreign
from leonids.gym.items import Items, marks
from leonids.gym.source import ReasoningGym
from leonids.records import Example
from leonids.spec import RunSpec
from leonids.train.bases import Base
from leonids.universe.splits import GYM
from leonids.universe.universe import Universe

REMEMBERED = 4096
UNRELATED = 1 << 40
"""Added to a data seed where a second stream is needed: each seed keys a stream of its own."""

CHECKED = 256
"""Examples looked at before training starts; every later batch is checked as it comes."""


@final
@dataclass(frozen=True, slots=True)
class Row:
    """An example and its tokens."""

    example: Example
    tokens: Encoded


@final
class Stream:
    """The examples of one universe and data seed for one base: a pure function of split and index.

    ``shuffled`` training prompts have the answer of an unrelated example, and floors that are not numbers; so have
    the items of ``transfer:gym``, which are the same in both.
    """

    def __init__(self, universe: Universe, base: Base, *, seed: int, shuffled: bool = False) -> None:
        self.universe = universe
        self.seed = seed
        self._shuffled = shuffled
        self._base = base
        self._tokenizer = FastTokenizer(base.tokenizer, base.eos_id)
        self._floor = TokenFloor(universe, self._tokenizer)
        self.row = lru_cache(maxsize=REMEMBERED)(self._row)

    def _row(self, split: str, index: int) -> Row:
        if split == GYM:
            example = self._items.example(index)
            return Row(example, encode_foreign(example, self._tokenizer))
        example = self.universe.example(split, self.seed, index)
        tokens = self._floor.encode(example)
        if self._shuffled and split == "train":
            other = self._floor.encode(self.universe.example(split, self.seed + UNRELATED, index))
            tokens = _answered(tokens, other)
        row = Row(example, tokens)
        check_row(row, self._base)
        return row

    @cached_property
    def _items(self) -> Items:
        return Items(self.universe, ReasoningGym(), seed=self.seed, unfit=self._unfit)

    def _unfit(self, example: Example) -> str | None:
        try:
            tokens = encode_foreign(example, self._tokenizer)
        except FloorError:
            return "the tokenizer does not give it back"
        return "longer than the base reads" if len(tokens.ids) > self._base.context_tokens else None

    def passed_over(self, split: str, n: int) -> Mapping[str, int]:
        """Return how many items were passed over for the first ``n`` of a split, by reason: LEO's never are."""
        return self._items.passed_over(n) if split == GYM else {}

    def marks(self, example: Example, text: str) -> tuple[bool, bool]:
        """Return whether ``text`` is in a format of the universe's answers, and whether it means the right one."""
        if example.split == GYM:
            return marks(text, example, self.universe)
        value = self.universe.parse_answer(text)
        return value is not None, value is not None and canonical_json(value) == canonical_json(example.answer)

    def batch(self, step: int, size: int) -> list[Row]:
        """Return the rows of training step ``step``, counted from 1: example index (step - 1) * size + row."""
        first = (step - 1) * size
        return [self.row("train", index) for index in range(first, first + size)]


def _answered(tokens: Encoded, other: Encoded) -> Encoded:
    """Return the prompt of ``tokens`` with the answer of ``other``, whose floor nobody computed."""
    at, first = tokens.prompt_tokens, other.prompt_tokens
    answer = other.ids[first:]
    return Encoded(
        ids=tokens.ids[:at] + answer,
        roles=tokens.roles[:at] + other.roles[first:],
        floor_nats=tokens.floor_nats[:at] + [math.nan] * len(answer),
        prompt_tokens=at,
        nexts={},
    )


def check_row(row: Row, base: Base) -> None:
    """Refuse an example that this base cannot be trained on."""
    tokens, where = row.tokens, f"example {row.example.index} of {row.example.split}"
    if max(tokens.ids) >= base.vocab:
        raise BaseError(
            f"{where} has token {max(tokens.ids)}",
            rule=f"base {base.name!r} has {base.vocab} tokens",
            way_out="use the tokenizer that belongs to the base",
        )
    if not row.example.completion:
        raise SpecError(f"{where} has an empty answer", rule="an answer has at least one character")
    if len(tokens.ids) > base.context_tokens:
        raise BaseError(
            f"{where} has {len(tokens.ids)} tokens, {tokens.prompt_tokens} of them the prompt",
            rule=f"base {base.name!r} reads at most {base.context_tokens}",
            way_out="shorten the lists of the universe, or use a base with a longer context",
        )


def open_streams(runs: Sequence[RunSpec], base: Base) -> tuple[Stream, ...]:
    """Return each run's stream; runs that see the same examples share one.

    The first examples are checked, and every item of ``transfer:gym``: nothing else tells before the lock whether a
    base reads enough of them.
    """
    made: dict[tuple[str, int, str], Stream] = {}
    found: list[Stream] = []
    for run in runs:
        if run.universe is None:
            raise SpecError(
                f"run {run.run} has no universe",
                rule="leonids trains on universes of LEO",
                way_out="other data are trained by a trainer of yours, with LeonidsCallback",
            )
        universe = Universe(run.universe)
        key = (universe.digest, run.data_seed, run.answers)
        if key not in made:
            made[key] = Stream(universe, base, seed=run.data_seed, shuffled=run.answers == "shuffled")
            for index in range(min(CHECKED, run.steps * run.batch_size)):
                made[key].row("train", index)
        if GYM in run.transfer:
            made[key].row(GYM, run.test_examples - 1)
        found.append(made[key])
    return tuple(found)
