"""The metrics that a prediction may speak of, with their units and natural bounds."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from leonids.digest import Json


@final
@dataclass(frozen=True, slots=True)
class Metric:
    """One measurable quantity: its unit, its bounds, and whether its unit is a whole answer (0 or 1).

    ``version`` is a promise: what the metric counts changes only under a new one, and then no verdict is given on a
    prediction that was locked under another.
    """

    name: str
    unit: str
    low: float
    high: float
    whole_answer: bool = False
    says: str = ""
    version: int = 1

    @property
    def is_share(self) -> bool:
        """Whether values lie between 0 and 1."""
        return self.low == 0.0 and self.high == 1.0


METRICS: tuple[Metric, ...] = (
    Metric("loss", "nats/token", 0.0, math.inf, says="mean of -log p of the gold token"),
    Metric("excess", "nats/token", -math.inf, math.inf, says="loss minus data floor minus head floor, paired by token"),
    Metric("floor", "nats/token", 0.0, math.inf, says="least expected loss under the universe"),
    Metric("head_floor", "nats/token", 0.0, math.inf, says="what a frozen output head adds to the data floor"),
    Metric("match", "share of examples", 0.0, 1.0, whole_answer=True, says="the whole answer right, as text"),
    Metric("format_match", "share of examples", 0.0, 1.0, whole_answer=True, says="valid against the schema"),
    Metric("meaning_match", "share of examples", 0.0, 1.0, whole_answer=True, says="equal as JSON"),
    Metric("token_accuracy", "share of tokens", 0.0, 1.0, says="argmax equals gold"),
    Metric("confidence", "probability", 0.0, 1.0, says="probability of the emitted token"),
    Metric("gold_confidence", "probability", 0.0, 1.0, says="probability of the gold token"),
    Metric("confidence_right", "probability", 0.0, 1.0, says="confidence where the emitted token is right"),
    Metric("confidence_wrong", "probability", 0.0, 1.0, says="confidence where the emitted token is wrong"),
    Metric("brier", "squared error", 0.0, 1.0, says="squared distance of confidence from right (1) or wrong (0)"),
    Metric("overconfidence", "probability", -1.0, 1.0, says="confidence minus token_accuracy of the same tokens"),
)
"""One row per metric; what produces the numbers is the probe and the readers."""

DERIVED: Mapping[str, tuple[str, ...]] = {
    "excess": ("loss", "floor"),
    "head_floor": ("loss", "floor"),
    "overconfidence": ("confidence", "token_accuracy"),
}
"""What is no metric of a stream, and the metrics that it is made of, row by row."""


def metric_versions() -> dict[str, Json]:
    """Return the version of each metric's definition: what a lock and a run's manifest state."""
    return {row.name: row.version for row in METRICS}


def metric_named(name: str) -> Metric | None:
    """Return the row called ``name``, or None."""
    return next((row for row in METRICS if row.name == name), None)
