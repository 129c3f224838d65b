"""The nouns of the hot path: small frozen records that rooms hand to each other.

Losses and floors are in nats. A mean is never stored: a ``Measurement`` is a total and a count, so
windows, roles, micro-batches, processes, resumes and seeds pool without weighting errors.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, final

from leonids.digest import Json

Role: TypeAlias = Literal["prompt", "structure", "copied", "decided", "end"]

ROLES: tuple[Role, ...] = ("prompt", "structure", "copied", "decided", "end")
"""Every token has exactly one role; the index in this tuple is the role's id in arrays."""

ANSWER_ROLES: tuple[Role, ...] = ("structure", "copied", "decided", "end")

LossScope: TypeAlias = Literal["answer", "all"]

TOKEN_SETS: Mapping[str, tuple[Role, ...]] = {
    "all": ROLES,
    "answer": ANSWER_ROLES,
    **{role: (role,) for role in ROLES},
}
"""The named token sets: ``all``, ``answer``, or one role."""

CELLS: Mapping[str, tuple[str, ...]] = {
    **{tokens: roles if tokens in ROLES else (*roles, tokens) for tokens, roles in TOKEN_SETS.items()},
    "example": ("example",),
}
"""The cells of a stream that make up a token set: its roles, or the set as a whole where the data know no roles."""

CELL_NAMES: tuple[str, ...] = tuple(sorted({cell for cells in CELLS.values() for cell in cells}))
"""Every cell, as canonical JSON lists them."""


class Span(NamedTuple):
    """Characters ``[start, end)`` of an example's text (prompt + completion) that share a role."""

    start: int
    end: int
    role: Role


class Emission(NamedTuple):
    """One step of a derivation: a text that was emitted, and the choice that emitted it, if any.

    ``site`` is None for deterministic text. ``gone`` of the site's options were not on offer: those that the derivation
    chose there before. A tuple, and a count, since an example of 1,000 tokens has hundreds of them.
    """

    text: str
    site: str | None = None
    option: int = -1
    gone: int = 0
    nats: float = 0.0


@final
@dataclass(frozen=True, slots=True)
class Example:
    """One prompt and answer with the derivation that made them.

    ``answers`` is the oracle's dictionary: each possible completion with its probability given the prompt.
    ``meaning`` is the canonical key of what is asked (no wording, no format); splits are bins of its hash.
    """

    universe: str
    split: str
    seed: int
    index: int
    prompt: str
    completion: str
    answer: Json
    spans: tuple[Span, ...]
    trace: tuple[Emission, ...]
    answers: Mapping[str, float]
    meaning: str
    tags: Mapping[str, str | int]


@final
@dataclass(frozen=True, slots=True)
class Measurement:
    """A total over a count of tokens or examples: of one metric, one role, one split, one step of one run.

    ``role`` is a token role, or ``example`` for metrics whose unit is the whole answer (match).
    ``total`` is in the metric's unit (nats for loss and floor; right answers for match).
    """

    run: str
    step: int
    split: str
    metric: str
    role: str
    total: float
    count: int


@final
@dataclass(frozen=True, slots=True)
class Observation:
    """One held-out example at one review: the unit of every statement about a single run.

    ``totals[metric][role]`` is ``(total, count)`` over the example's tokens of that role; whole-answer
    metrics use the role ``example`` with count 1.
    """

    run: str
    step: int
    split: str
    index: int
    tags: Mapping[str, str | int]
    totals: Mapping[str, Mapping[str, tuple[float, int]]]


Word: TypeAlias = Literal["not_due", "supported", "refuted", "inconclusive", "void"]

Grade: TypeAlias = Literal["anchored", "sealed", "late", "unverifiable", "broken"]


@final
@dataclass(frozen=True, slots=True)
class Verdict:
    """What a prediction's evidence says, by the rules of docs/verdicts.md.

    ``estimate`` and the interval are in the unit of the prediction's metric and absent without data.
    ``n`` counts ``unit``s: examples, steps or seeds, never tokens. ``reason`` is required for every word
    but ``supported`` and ``refuted``. ``decides`` says what would decide an inconclusive one.
    """

    prediction: str
    word: Word
    reason: str
    estimate: float | None
    low: float | None
    high: float | None
    level: float
    n: int
    unit: str
    scope: str
    grade: Grade
    decides: str = ""
    at: str = ""
