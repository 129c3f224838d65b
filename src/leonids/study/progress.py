"""How far runs have come: read from the ends of their streams to show it, from the ledger to judge by it."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from leonids.ledger.entry import Entry
from leonids.ledger.lines import heads_of
from leonids.records import CELLS
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
    wall_s: float
    examples: int
    loss_nats: float | None
    excess_nats: float | None
    match_frac: float | None


def sealed_steps(entries: Sequence[Entry], run: str) -> int:
    """Return the last step of a run whose lines, its review's among them, the ledger has sealed; 0 before any.

    Lines beyond it may still be cut off by a resume, so no verdict rests on them.
    """
    heads = (e for e in reversed(entries) if e.type in ("run_head", "run_end") and e.body.get("run") == run)
    last = next(heads, None)
    # The first line of a stream says where it starts; a step is a line after it.
    return 0 if last is None else heads_of(last.body)["steps"][0] - 1


@final
@dataclass(slots=True)
class _Tail:
    """The lines that a growing file has gained since the last look; a line being written is left for later."""

    path: Path
    offset: int = 0

    def lines(self) -> tuple[bool, list[bytes]]:
        """Return whether the file is read from its beginning, and its new lines."""
        if not self.path.is_file():
            return True, []
        with self.path.open("rb") as handle:
            handle.seek(max(0, self.offset - 1))
            data = handle.read()
            # A resumed run cuts its stream back to a checkpoint: what was read last need not be there any more.
            if self.offset and data[:1] != b"\n":
                self.offset = 0
                handle.seek(0)
                data = handle.read()
        anew = self.offset == 0
        new = data if anew else data[1:]
        whole = new[: new.rfind(b"\n") + 1]
        self.offset += len(whole)
        return anew, whole.splitlines()


# Lines are canonical JSON. A long run has tens of thousands, of which the last alone is needed whole.
STEP_LINE, REVIEW_LINE = b'"kind":"step"', b'"kind":"review"'
WALL, EXAMPLES = (re.compile(rf'"{name}":([-+.\deE]+)[,}}]'.encode()) for name in ("wall_s", "examples"))


def _sum(pattern: re.Pattern[bytes], lines: Sequence[bytes]) -> float:
    return sum(float(found[1]) for line in lines if (found := pattern.search(line)))


@final
@dataclass(slots=True)
class _Run:
    spec: RunSpec
    steps: _Tail
    reviews: _Tail
    last: dict[str, Any] = field(default_factory=dict)
    wall_s: float = 0.0
    examples: int = 0
    match: float | None = None

    def read(self) -> RunProgress:
        anew, lines = self.steps.lines()
        if anew:
            self.last, self.wall_s, self.examples = {}, 0.0, 0
        steps = [line for line in lines if STEP_LINE in line]
        if steps:
            self.last = json.loads(steps[-1])
            self.wall_s += _sum(WALL, steps)
            self.examples += int(_sum(EXAMPLES, steps))
        reviews = (json.loads(text) for text in self.reviews.lines()[1] if REVIEW_LINE in text)
        for line in reviews:
            if line["split"] == "validation":
                total, count = line["metrics"].get("match", {}).get("example", (0.0, 0))
                self.match = total / count if count else None
        metrics = self.last.get("metrics", {})
        loss, floor = _answer_mean(metrics, "loss"), _answer_mean(metrics, "floor")
        return RunProgress(
            run=self.spec.run,
            arm=self.spec.arm,
            step=int(self.last.get("step", 0)),
            steps=self.spec.steps,
            wall_s=self.wall_s,
            examples=self.examples,
            loss_nats=loss,
            excess_nats=None if loss is None or floor is None else loss - floor,
            match_frac=self.match,
        )


def _answer_mean(metrics: dict[str, Any], metric: str) -> float | None:
    pairs = [metrics[metric][role] for role in CELLS["answer"] if role in metrics.get(metric, {})]
    count = sum(pair[1] for pair in pairs)
    # A total that is not finite is a text in the stream: NaN, Infinity.
    return sum(float(pair[0]) for pair in pairs) / count if count else None


@final
class Progress:
    """All runs of a plan, read together."""

    def __init__(self, runs: Sequence[RunSpec], out: Path) -> None:
        self._runs = [_Run(run, _Tail(out / run.run / STEPS), _Tail(out / run.run / REVIEWS)) for run in runs]

    def read(self) -> tuple[RunProgress, ...]:
        """Return where every run stands now."""
        return tuple(run.read() for run in self._runs)
