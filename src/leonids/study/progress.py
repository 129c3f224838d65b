"""How far runs have come: read from the ends of their streams to show it, from the ledger to judge by it."""

import json
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, BinaryIO, final

from leonids.ledger.entry import Entry
from leonids.ledger.lines import heads_of
from leonids.records import CELLS
from leonids.spec import RunSpec
from leonids.study.streams import REVIEWS, STEPS


@final
@dataclass(frozen=True, slots=True)
class RunProgress:
    """One run now: means over the answer tokens of its last step's batch, nats/token, absent before the first one.

    ``head_nats`` is also absent where it is not known, and then inside the excess. ``step_s`` and ``tokens_s``
    (seconds a step, tokens in the loss a second) are of the last ``RECENT`` steps; ``match_frac`` is the last review's.
    """

    run: str
    arm: str
    step: int
    steps: int
    step_s: float | None
    tokens_s: float | None
    loss_nats: float | None
    floor_nats: float | None
    head_nats: float | None
    match_frac: float | None

    @property
    def excess_nats(self) -> float | None:
        """Loss minus data floor minus head floor, nats/token."""
        if self.loss_nats is None or self.floor_nats is None:
            return None
        return self.loss_nats - self.floor_nats - (self.head_nats or 0.0)

    @property
    def floors_nats(self) -> float | None:
        """The floors of the data and of the head together, nats/token."""
        return None if self.floor_nats is None else self.floor_nats + (self.head_nats or 0.0)


@final
@dataclass(frozen=True, slots=True)
class ArmProgress:
    """One arm now: means over its runs, losses in nats per answer token of the last batch; absent ones are None."""

    arm: str
    runs: tuple[RunProgress, ...]

    @property
    def active(self) -> tuple[RunProgress, ...]:
        """The runs that have begun and not ended."""
        return tuple(run for run in self.runs if 0 < run.step < run.steps)

    @property
    def ended(self) -> int:
        """How many runs have ended."""
        return sum(run.step >= run.steps for run in self.runs)

    @property
    def step_range(self) -> str:
        """The least and the greatest step of a run, of how many."""
        low, high = (end(run.step for run in self.runs) for end in (min, max))
        return f"{low}/{self.runs[0].steps}" if low == high else f"{low}-{high}/{self.runs[0].steps}"

    @property
    def done_frac(self) -> float:
        """The share of the arm's steps that are done."""
        return sum(run.step for run in self.runs) / sum(run.steps for run in self.runs)

    @property
    def left_s(self) -> float | None:
        """Seconds until the runs that are being trained have ended."""
        return max((run.step_s * (run.steps - run.step) for run in self.active if run.step_s is not None), default=None)

    @property
    def tokens_s(self) -> float | None:
        """Tokens in the loss a second, of the runs that are being trained together."""
        return sum(run.tokens_s or 0.0 for run in self.active) if self.active else None

    def mean(self, figure: str) -> float | None:
        """Return the mean of a figure, by its field's name, over the runs that have it."""
        known = [value for run in self.runs if (value := getattr(run, figure)) is not None]
        return sum(known) / len(known) if known else None


def arms_of(runs: Sequence[RunProgress]) -> tuple[ArmProgress, ...]:
    """Return runs grouped by arm, in the order of the study."""
    arms = dict.fromkeys(run.arm for run in runs)
    return tuple(ArmProgress(arm, tuple(run for run in runs if run.arm == arm)) for arm in arms)


def sealed_steps(entries: Sequence[Entry], run: str) -> int:
    """Return the last step of a run whose lines, its review's among them, the ledger has sealed; 0 before any.

    Lines beyond it may still be cut off by a resume, so no verdict rests on them.
    """
    heads = (e for e in reversed(entries) if e.type in ("run_head", "run_end") and e.body.get("run") == run)
    last = next(heads, None)
    # The first line of a stream says where it starts; a step is a line after it.
    return 0 if last is None else heads_of(last.body)["steps"].records - 1


@final
@dataclass(slots=True)
class _Tail:
    """The lines that a growing file has gained since the last look; a line being written is left for later.

    ``first`` says from where on the first look needs the file: a study's streams are too long to be read whole.
    """

    path: Path
    first: Callable[[BinaryIO], int]
    offset: int = 0

    def lines(self) -> tuple[bool, list[bytes]]:
        """Return whether the file is read anew, and its new lines."""
        if not self.path.is_file():
            self.offset = 0
            return True, []
        with self.path.open("rb") as handle:
            # A resumed run cuts its stream back to a checkpoint: what was read last need not be there any more.
            handle.seek(max(0, self.offset - 1))
            anew = self.offset == 0 or handle.read(1) != b"\n"
            if anew:
                self.offset = handle.seek(self.first(handle))
            new = handle.read()
        whole = new[: new.rfind(b"\n") + 1]
        self.offset += len(whole)
        return anew, whole.splitlines()


RECENT = 50
FIRST_BYTES = 1 << 18
"""How far back a first look at a training stream goes: ``RECENT`` lines and more."""

# Lines are canonical JSON, of which the last alone is needed whole.
STEP_LINE, REVIEW_LINE, VALIDATION = b'"kind":"step"', b'"kind":"review"', b'"split":"validation"'
WALL = re.compile(rb'"wall_s":([-+.\deE]+)[,}]')
LOSS, CELL = re.compile(rb'"loss":\{([^}]*)\}'), re.compile(rb'"(\w+)":\[[^,]*,(\d+)\]')


def _recent(handle: BinaryIO) -> int:
    """Return where the lines begin that lie in the last ``FIRST_BYTES`` of a file."""
    at = handle.seek(max(0, handle.seek(0, 2) - FIRST_BYTES))
    return at + len(handle.readline()) if at else 0


def _last_review(handle: BinaryIO) -> int:
    """Return where the last line begins that sums up a review on the validation split; 0 where there is none."""
    if handle.seek(0, 2) == 0:
        return 0
    with mmap(handle.fileno(), 0, access=ACCESS_READ) as data:
        at = len(data)
        while (at := data.rfind(REVIEW_LINE, 0, at)) >= 0:
            start, end = data.rfind(b"\n", 0, at) + 1, data.find(b"\n", at)
            if end >= 0 and data.find(VALIDATION, start, end) >= 0:
                return start
    return 0


def _took(line: bytes, cells: frozenset[bytes]) -> tuple[float, int]:
    """Return a step's seconds, and its tokens in the loss."""
    wall, loss = WALL.search(line), LOSS.search(line)
    counted = CELL.findall(loss[1]) if loss else ()
    return float(wall[1]) if wall else 0.0, sum(int(count) for cell, count in counted if cell in cells)


@final
@dataclass(slots=True)
class _Run:
    spec: RunSpec
    head: Mapping[str, float] | None
    steps: _Tail
    reviews: _Tail
    last: dict[str, Any] = field(default_factory=dict)
    took: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=RECENT))
    match: float | None = None

    def read(self) -> RunProgress:
        anew, lines = self.steps.lines()
        if anew:
            self.last = {}
            self.took.clear()
        steps = [line for line in lines if STEP_LINE in line]
        if steps:
            self.last = json.loads(steps[-1])
            cells = frozenset(cell.encode() for cell in CELLS[self.spec.loss_on])
            self.took.extend(_took(line, cells) for line in steps[-RECENT:])
        anew, lines = self.reviews.lines()
        if anew:
            self.match = None
        reviews = [line for line in lines if REVIEW_LINE in line and VALIDATION in line]
        if reviews:
            total, count = json.loads(reviews[-1])["metrics"].get("match", {}).get("example", (0.0, 0))
            self.match = total / count if count else None
        metrics = self.last.get("metrics", {})
        seconds, tokens = (sum(column) for column in zip((0.0, 0), *self.took, strict=True))
        return RunProgress(
            run=self.spec.run,
            arm=self.spec.arm,
            step=int(self.last.get("step", 0)),
            steps=self.spec.steps,
            step_s=seconds / len(self.took) if self.took else None,
            tokens_s=tokens / seconds if seconds else None,
            loss_nats=_answer_mean(metrics.get("loss", {})),
            floor_nats=_answer_mean(metrics.get("floor", {})),
            head_nats=None if self.head is None else _answer_mean(_priced(metrics.get("loss", {}), self.head)),
            match_frac=self.match,
        )


def _priced(cells: Mapping[str, Sequence[Any]], nats: Mapping[str, float]) -> dict[str, tuple[float, int]]:
    """Return totals and counts of so many nats a token, by role, over the tokens of ``cells``."""
    return {role: (nats.get(role, 0.0) * count, count) for role, (_, count) in cells.items()}


def _answer_mean(cells: Mapping[str, Sequence[Any]]) -> float | None:
    pairs = [cells[role] for role in CELLS["answer"] if role in cells]
    count = sum(pair[1] for pair in pairs)
    # A total that is not finite is a text in the stream: NaN, Infinity.
    return sum(float(pair[0]) for pair in pairs) / count if count else None


@final
class Progress:
    """All runs of a plan, read together. ``head`` is the head's floor by arm and role, nats/token, where known."""

    def __init__(self, runs: Sequence[RunSpec], out: Path, *, head: Mapping[str, Mapping[str, float]]) -> None:
        tails = [(_Tail(out / run.run / STEPS, _recent), _Tail(out / run.run / REVIEWS, _last_review)) for run in runs]
        self._runs = [_Run(run, head.get(run.arm), *both) for run, both in zip(runs, tails, strict=True)]

    def read(self) -> tuple[RunProgress, ...]:
        """Return where every run stands now."""
        return tuple(run.read() for run in self._runs)
