"""One run without predictions, and the measuring of an adapter."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from leonids.digest import canonical_json
from leonids.errors import OutputError, UsageError
from leonids.floor.base_files import find_base
from leonids.gym.tasks import UNKNOWN, passed_over_line
from leonids.launch import Pass, check_installed, launch, rehearsal
from leonids.ledger.chain import Ledger, read_entries
from leonids.ledger.lines import LEDGER
from leonids.spec import RunSpec, load_run, load_universe
from leonids.stats.intervals import Absent, Interval, binomial_interval
from leonids.study.cases import Case, case_lines, cases_of
from leonids.study.folder import RUN, note_about
from leonids.study.progress import Progress, RunProgress
from leonids.universe.splits import GYM, belongs


def train_single(
    path: Path,
    *,
    out: Path,
    resume: bool,
    moved: Callable[[Sequence[RunProgress]], None] = lambda _: None,
    planned: Callable[[Sequence[Pass]], None] = lambda _: None,
) -> Path:
    """Train the run of a file into ``out`` and return the folder of its adapter or model.

    ``planned`` hears how it is trained, ``moved`` how far it has come.

    Raises ``OutputError`` where the folder holds something else, or this run and ``resume`` is not asked for.
    """
    run = load_run(path)
    check_installed([run])
    find_base(run.base)
    begun = _begun(run, out, resume=resume)
    if not begun:
        with rehearsal([run], out=out) as rehearsed:
            rehearsed()
    ledger = Ledger.open(out)
    if not begun:
        ledger.append("note", {"about": RUN, "run": run.model_dump(mode="json")})
    progress = Progress([run], out, head={})
    launch([run], out=out, resume=resume, tick=lambda: moved(progress.read()), planned=planned)
    return out / run.run / ("model" if run.adapter.method == "full" else "adapter")


def _begun(run: RunSpec, out: Path, *, resume: bool) -> bool:
    """Return whether a folder holds this very run already."""
    entries = read_entries(out) if (out / LEDGER).is_file() else ()
    if len(entries) <= 1:
        return False
    body = note_about(entries, RUN)
    if body is None or canonical_json(body["run"]) != canonical_json(run.model_dump(mode="json")):
        raise OutputError(
            f"{out} holds {'a study' if body is None else 'a run with other settings'}",
            rule="a folder holds one study or one run, and its settings stay",
            way_out="choose another --out",
        )
    if not resume:
        raise OutputError(
            f"{out} holds this run already", rule="data are never written over", way_out="go on with --resume"
        )
    return True


@final
@dataclass(frozen=True, slots=True)
class Measured:
    """An adapter's held-out figures: ``match`` of whole answers with its exact interval; nats per answer token.

    ``cases`` are the same matches by the examples' tags. ``floor_nats`` is None where nobody knows it, as of
    ``transfer:gym``, of which ``passed_over`` counts the items that could not be asked, by reason.
    """

    universe: str
    split: str
    matches: int
    match: Interval
    loss_nats: float
    floor_nats: float | None
    cases: tuple[Case, ...]
    passed_over: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON."""
        return {
            "universe": self.universe,
            "split": self.split,
            "n": self.match.n,
            "match": self.match.estimate,
            "match_low": self.match.low,
            "match_high": self.match.high,
            "level": self.match.level,
            "loss_nats": self.loss_nats,
            "floor_nats": self.floor_nats,
            "cases": [asdict(case) for case in self.cases],
            "passed_over": dict(self.passed_over),
        }

    def lines(self) -> list[str]:
        """Return the figures as text."""
        return [
            f"{self.universe}, {self.split}, {self.match.n} examples",
            f"match {self.match.estimate:.1%} ({self.matches} of {self.match.n}, "
            f"{self.match.level:.0%} CI {self.match.low:.1%}-{self.match.high:.1%})",
            f"answer loss {self.loss_nats:.4f} nats/token"
            + (
                f"; {UNKNOWN}; {passed_over_line(self.passed_over)}"
                if self.floor_nats is None
                else f" = {self.floor_nats:.4f} floor + {self.loss_nats - self.floor_nats:.4f} excess and head"
            ),
            *case_lines(self.cases),
        ]


def evaluate_adapter(adapter: Path, *, universe: str, split: str, n: int, base: str | None) -> Measured:
    """Return an adapter's match and answer loss on the first ``n`` examples of a held-out split, seed 0.

    ``adapter`` may also be the name of a base, which is then measured bare. Raises ``UsageError`` for the
    split ``train`` and ``BaseError`` for an adapter that does not fit.
    """
    if split == "train":
        raise UsageError(
            "--split is 'train'",
            rule="an adapter is measured on what it was not trained on",
            way_out="choose validation or test, or a transfer split",
        )
    if split != GYM:
        belongs("", split)
    spec = load_universe(universe)
    check_installed(splits=[split])
    from leonids.train.measure import measure  # noqa: PLC0415

    found = measure(adapter, spec, split=split, n=n, base=base)
    matches = sum(right for _, right in found.examples)
    match = binomial_interval(matches, n, level=0.95)
    if isinstance(match, Absent):
        raise UsageError(f"-n is {n}", rule=match.reason, way_out="measure one example or more")
    return Measured(
        universe=spec.universe,
        split=split,
        matches=matches,
        match=match,
        loss_nats=found.loss_nats,
        floor_nats=found.floor_nats,
        cases=cases_of(found.examples),
        passed_over=found.passed_over,
    )
