"""The phases of learning as the observation document defines them: by the confidence on right tokens."""

from dataclasses import dataclass
from typing import final

from leonids.report.numbers import Known, Missing, Value

PHASES: tuple[tuple[float, str], ...] = (
    (0.51, "structural learning"),
    (0.70, "confidence building"),
    (0.90, "refinement"),
)
"""Where each phase begins, as a probability of the right token (51, 70 and 90 %); refinement has no end."""

BEFORE = "before structural learning"


@final
@dataclass(frozen=True, slots=True)
class Phase:
    """A phase and what it rests on. ``word`` names two neighbours where the interval holds their border."""

    word: str
    by: str
    confidence: Value


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
    spread = (confidence.low, confidence.estimate, confidence.high)
    names = tuple(dict.fromkeys(phase_at(end) for end in spread if end is not None))
    return Phase(" or ".join(names), f"the confidence on right {tokens} tokens", confidence)
