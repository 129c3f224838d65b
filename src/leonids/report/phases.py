"""The phases of learning: by the confidence on right tokens, and by the ladder of plateaus.

The borders of the first are the observation document's; the ladder is computed before training starts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from leonids.records import LossScope
from leonids.report.numbers import Known, Missing, Value

PHASES: tuple[tuple[float, str], ...] = (
    (0.51, "structural learning"),
    (0.70, "confidence building"),
    (0.90, "refinement"),
)
"""Where each phase begins, as a probability of the right token (51, 70 and 90 %); refinement has no end."""

BEFORE = "before structural learning"

WORKING_OUT, AT_THE_FLOOR = "working out the answers", "at the floor"


@final
@dataclass(frozen=True, slots=True)
class Phase:
    """A phase and what it rests on. ``word`` names two neighbours where the interval holds their border."""

    word: str
    by: str
    confidence: Value


@final
@dataclass(frozen=True, slots=True)
class Step:
    """The answer's floor in nats per example for a learner that knows only what ``knows`` says."""

    knows: str
    nats: float


@final
@dataclass(frozen=True, slots=True)
class Standing:
    """Where an answer loss (nats per example) stands on the ladder; ``word`` names the stretches its interval meets."""

    word: str
    loss: Value
    steps: tuple[Step, ...]


def phase_at(confidence: float) -> str:
    """Return the phase of a confidence on right tokens.

    >>> phase_at(0.5), phase_at(0.7), phase_at(0.995)
    ('before structural learning', 'confidence building', 'refinement')
    """
    return next((name for start, name in reversed(PHASES) if confidence >= start), BEFORE)


def phase_of(confidence: Known, *, tokens: str) -> Phase | Missing:
    """Return the phase of a measured confidence on right tokens of a token set, as sure as its interval is."""
    if isinstance(confidence, Missing):
        return confidence
    return Phase(_spread(confidence, phase_at), f"the confidence on right {tokens} tokens", confidence)


def _spread(value: Value, name: Callable[[float], str]) -> str:
    ends = (value.low, value.estimate, value.high)
    return " or ".join(dict.fromkeys(name(end) for end in ends if end is not None))


def ladder_of(floors: Mapping[str, Any] | None) -> tuple[Step, ...]:
    """Return an arm's ladder, the learner that knows least first; empty where the ledger holds none."""
    return tuple(Step(str(rung["knows"]), float(rung["nats"])) for rung in (floors or {}).get("ladder", ()))


def plateaus_of(floors: Mapping[str, Any] | None, scope: LossScope) -> list[tuple[float, str]]:
    """Return the ladder above its foot, from the top: nats per token over ``scope``, and what is known there."""
    steps = ladder_of(floors)[:-1]
    if floors is None or not steps:
        return []
    known = floors["answer"]["prompt_nats"]["mean"] if scope == "all" else 0.0
    tokens = floors[scope]["tokens_per_example"]["mean"]
    return sorted((((known + step.nats) / tokens, step.knows) for step in steps), reverse=True)


def stretches(steps: Sequence[Step]) -> tuple[str, ...]:
    """Return what is being learnt above each step of a ladder, from the top down, and the name of its foot.

    >>> stretches([Step("the format", 6.0), Step("everything", 0.0)])
    ('learning the format', 'working out the answers', 'at the floor')
    """
    named = (WORKING_OUT if step.knows == "everything" else f"learning {step.knows}" for step in steps)
    return (*named, AT_THE_FLOOR)


def stretch_at(nats: float, steps: Sequence[Step]) -> str:
    """Return what a learner with an answer loss of ``nats`` per example is learning still."""
    return stretches(steps)[sum(nats <= step.nats for step in steps)]


def standing_of(loss: Known, steps: Sequence[Step]) -> Standing | Missing:
    """Return where an answer loss in nats per example stands, as sure as its interval is."""
    if not steps:
        return Missing("no ladder is in the ledger")
    if isinstance(loss, Missing):
        return loss
    return Standing(_spread(loss, lambda nats: stretch_at(nats, steps)), loss, tuple(steps))
