"""The folder as the page holds it: what was found in it, read in the background whenever its ledger has grown."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar, cast, final

from leonids.errors import LeonidsError
from leonids.ledger.lines import LEDGER
from leonids.report.findings import Findings, gather, judged
from leonids.study.folder import StudyFolder
from leonids.study.progress import Progress, RunProgress
from leonids.study.streams import REVIEWS, STEPS
from leonids.web.chart import Chart
from leonids.web.series import Series

Made = TypeVar("Made")


@final
@dataclass(frozen=True, slots=True)
class Version:
    """How far a folder has been written and read, in bytes. It is the same after the server was started anew."""

    ledger: int
    steps: int
    reviews: int
    read: int

    def __str__(self) -> str:
        """Return the version as an event's id."""
        return f"{self.ledger}-{self.steps}-{self.reviews}-{self.read}"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


@final
@dataclass(frozen=True, slots=True)
class Whole:
    """What the reviews say, as far as the ledger's first ``ledger`` bytes; ``blocks`` are the report's own."""

    ledger: int
    findings: Findings
    blocks: Mapping[str, str]


@final
class Shelf:
    """One study folder. A page never waits for its reviews: they are read beside, and shown once they are read.

    Several threads may ask at once.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self._claims = (_size(out / LEDGER), judged(StudyFolder.open(out)))
        runs = self._claims[1].folder.runs
        self.series = Series(out, runs)
        self.trouble = ""
        self._streams = [out / run.run for run in runs]
        self._progress = Progress(runs, out, head=self._claims[1].folder.head)
        self._last: tuple[str, tuple[RunProgress, ...]] = ("", ())
        self._whole: Whole | None = None
        self._kept: dict[tuple[object, ...], object] = {}
        self._charts: tuple[str, dict[tuple[str, object], tuple[Chart, Chart]]] = ("", {})
        self._lock, self._progress_lock, self._reading = threading.Lock(), threading.Lock(), threading.Lock()

    def version(self) -> Version:
        """Return how far the folder has been written, by the sizes of its files, and how far it has been read."""
        steps, reviews = (sum(_size(run / name) for run in self._streams) for name in (STEPS, REVIEWS))
        return Version(_size(self.out / LEDGER), steps, reviews, self._whole.ledger if self._whole else 0)

    def read(self) -> None:
        """Read what the reviews say, if the ledger has grown since the last reading; seconds for a large study."""
        from leonids.report.document import blocks_of  # noqa: PLC0415 - much of it, for what no first page shows

        with self._reading:
            at = _size(self.out / LEDGER)
            if self._whole is not None and self._whole.ledger == at:
                return
            try:
                found = gather(StudyFolder.open(self.out))
                self._whole = Whole(at, _unread(found), blocks_of(found, ()))
                self._kept = {}
                self.trouble = ""
            except LeonidsError as error:
                self.trouble = str(error)

    @property
    def behind(self) -> bool:
        """Whether the ledger has grown since its reviews were read."""
        return self._whole is None or self._whole.ledger != _size(self.out / LEDGER)

    def blocks(self) -> Mapping[str, str] | None:
        """Return the blocks of the report as Markdown; None before the reviews were read."""
        return self._whole.blocks if self._whole else None

    def findings(self) -> Findings:
        """Return what the ledger says now, with what was measured as far as the reviews have been read.

        Where the folder has become unreadable, what it said last is returned and ``trouble`` says why.
        """
        with self._lock:
            at = _size(self.out / LEDGER)
            if self._claims[0] != at:
                try:
                    self._claims = at, judged(StudyFolder.open(self.out))
                    self.trouble = ""
                except LeonidsError as error:
                    self.trouble = str(error)
        now, whole = _unread(self._claims[1]), self._whole
        if whole is None:
            return now
        return replace(now, explanations=whole.findings.explanations, checkpoints=whole.findings.checkpoints)

    def kept(self, name: tuple[object, ...], make: Callable[[], Made]) -> Made:
        """Return what ``make`` made; it is made again after the reviews were read anew."""
        kept = self._kept
        if name not in kept:
            kept[name] = make()
        return cast("Made", kept[name])

    def charts(self) -> dict[tuple[str, object], tuple[Chart, Chart]]:
        """Return where charts are kept, whole and as drawn; it is empty after anything was written or read."""
        version = str(self.version())
        if self._charts[0] != version:
            self._charts = version, {}
        return self._charts[1]

    def progress(self) -> tuple[RunProgress, ...]:
        """Return where every run stands now."""
        with self._progress_lock:
            at = str(self.version())
            if self._last[0] != at:
                self._last = at, self._progress.read()
            return self._last[1]


def _unread(found: Findings) -> Findings:
    """Return findings whose folder has read nothing yet: the rows that a page reads go with its request."""
    return replace(found, folder=StudyFolder(found.folder.out, found.folder.entries))
