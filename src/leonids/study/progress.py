"""How far runs have come, read from the ends of their streams."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from leonids.records import ANSWER_ROLES
from leonids.spec import RunSpec
from leonids.study.streams import REVIEWS, STEPS


@final
@dataclass(frozen=True, slots=True)
class RunProgress:
    """One run now. Figures are of its last step, and absent before the first one.

    ``excess_nats`` is loss minus data floor per answer token; ``match_frac`` is the last review's.
    """

    run: str
    arm: str
    step: int
    steps: int
    reviewed_frac: float
    wall_s: float
    examples: int
    loss_nats: float | None
    excess_nats: float | None
    match_frac: float | None


@final
@dataclass(slots=True)
class _Tail:
    """The lines that a growing file has gained since the last look; a line being written is left for later."""

    path: Path
    offset: int = 0

    def lines(self) -> list[dict[str, Any]]:
        if not self.path.is_file():
            return []
        size = self.path.stat().st_size
        if size < self.offset:
            # A resumed run cuts its stream back to a checkpoint.
            self.offset = 0
        with self.path.open("rb") as handle:
            handle.seek(self.offset)
            data = handle.read()
        whole = data[: data.rfind(b"\n") + 1]
        self.offset += len(whole)
        return [json.loads(line) for line in whole.splitlines()]


@final
@dataclass(slots=True)
class _Run:
    spec: RunSpec
    steps: _Tail
    reviews: _Tail
    last: dict[str, Any] = field(default_factory=dict)
    wall_s: float = 0.0
    examples: int = 0
    reviewed_step: int = 0
    match: float | None = None

    def read(self) -> RunProgress:
        for line in self.steps.lines():
            if line.get("kind") == "step":
                self.last = line
                self.wall_s += float(line.get("wall_s", 0.0))
                self.examples += int(line.get("examples", 0))
        for line in self.reviews.lines():
            if line.get("kind") == "review" and line["split"] == "validation":
                self.reviewed_step = int(line["step"])
                total, count = line["metrics"].get("match", {}).get("example", (0.0, 0))
                self.match = total / count if count else None
        metrics = self.last.get("metrics", {})
        loss, floor = _answer_mean(metrics, "loss"), _answer_mean(metrics, "floor")
        return RunProgress(
            run=self.spec.run,
            arm=self.spec.arm,
            step=int(self.last.get("step", 0)),
            steps=self.spec.steps,
            reviewed_frac=self.reviewed_step / self.spec.steps,
            wall_s=self.wall_s,
            examples=self.examples,
            loss_nats=loss,
            excess_nats=None if loss is None or floor is None else loss - floor,
            match_frac=self.match,
        )


def _answer_mean(metrics: dict[str, Any], metric: str) -> float | None:
    pairs = [metrics[metric][role] for role in ANSWER_ROLES if role in metrics.get(metric, {})]
    count = sum(pair[1] for pair in pairs)
    return sum(pair[0] for pair in pairs) / count if count else None


@final
class Progress:
    """All runs of a plan, read together."""

    def __init__(self, runs: Sequence[RunSpec], out: Path) -> None:
        self._runs = [_Run(run, _Tail(out / run.run / STEPS), _Tail(out / run.run / REVIEWS)) for run in runs]

    def read(self) -> tuple[RunProgress, ...]:
        """Return where every run stands now."""
        return tuple(run.read() for run in self._runs)
