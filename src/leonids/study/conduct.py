"""Conducting a study: register, then train, judging at each review. Time and effects are here and in ``launch``."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, cast, final

from leonids.claims.judge import judge
from leonids.claims.prediction import resolved
from leonids.digest import Json
from leonids.errors import OutputError
from leonids.launch import launch
from leonids.ledger.chain import Ledger, read_entries
from leonids.ledger.lines import LEDGER
from leonids.records import Verdict
from leonids.study.floors import ArmFloors, floors_by_arm
from leonids.study.folder import FLOORS, PLAN, FolderEvidence, StudyFolder, note_about
from leonids.study.plan import Plan
from leonids.study.progress import Progress, RunProgress


class Watch(Protocol):
    """Whoever follows a study while it runs."""

    def registered(self, plan: Plan, out: Path) -> None:
        """The predictions are locked; nothing has run."""
        ...

    def moved(self, runs: Sequence[RunProgress]) -> None:
        """The runs have gone on."""
        ...

    def reviewed(self, folder: StudyFolder, at: float, verdicts: Sequence[Verdict]) -> None:
        """Every run has passed a review, and what fell due was judged."""
        ...


def register(plan: Plan, out: Path, *, resume: bool = False) -> Ledger:
    """Lock a plan: its floors and predictions go into the folder's ledger before anything runs.

    Everything that can be wrong with the plan is found before the first byte is written. Raises ``OutputError``
    where the folder holds another study, or this one and ``resume`` is not asked for.
    """
    if (out / LEDGER).is_file():
        body = note_about(read_entries(out), PLAN)
        if body is not None and body.get("digest") == plan.digest and resume:
            return Ledger.open(out)
        same = body is not None and body.get("digest") == plan.digest
        raise OutputError(
            f"{out} holds {'this' if same else 'another'} study already",
            rule="a study's data are never written over",
            way_out="go on with --resume" if same else "choose another --out",
        )
    if out.is_dir() and any(out.iterdir()):
        raise OutputError(f"{out} is not empty", rule="a study begins in a folder of its own", way_out="choose another")
    floors = floors_of(plan)
    ledger = Ledger.open(out)
    ledger.append("note", {"about": PLAN, "digest": plan.digest, **plan.to_json()})
    arms = {arm: floor.to_json() for arm, floor in floors.items()}
    ledger.append("note", {"about": FLOORS, "arms": cast("Json", plain(arms))})
    ledger.register([cast("dict[str, Json]", resolved(prediction)) for prediction in plan.predictions])
    return ledger


def floors_of(plan: Plan) -> dict[str, ArmFloors]:
    """Return the floors of every arm of a plan."""
    return floors_by_arm(plan.runs)


def plain(value: Any) -> Json:
    """Return a value with tuples as lists and NumPy numbers as Python's, as JSON has them."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, bool) or value is None or isinstance(value, str | int):
        return value
    return float(value)


def verdict_json(verdict: Verdict) -> dict[str, Json]:
    """Return a verdict as the ledger holds it."""
    return cast("dict[str, Json]", plain(asdict(verdict)))


def judge_folder(folder: StudyFolder, *, at: float | None) -> tuple[Verdict, ...]:
    """Return the verdicts on a folder's predictions at a progress, or at the end (None). Writes nothing."""
    return judge(folder.hypotheses, FolderEvidence(folder, until=at), at=at)


def write_verdicts(ledger: Ledger, verdicts: Sequence[Verdict], *, at: float | None) -> None:
    """Add the verdicts of one review to the ledger; ``at`` None closes the study."""
    body: dict[str, Json] = {"at": "end" if at is None else at, "verdicts": [verdict_json(v) for v in verdicts]}
    ledger.append("verdict", body)


@final
class Conductor:
    """Follows the runs of a plan and judges at every review that all of them have passed."""

    def __init__(self, plan: Plan, out: Path, ledger: Ledger, watch: Watch) -> None:
        self._plan = plan
        self._out = out
        self._ledger = ledger
        self._watch = watch
        self._progress = Progress(plan.runs, out)
        done = {e.body["at"] for e in ledger.entries() if e.type == "verdict"}
        self._left = [review for review in plan.study.reviews if review < 1.0 and review not in done]

    def tick(self) -> None:
        """Read what the runs have written since the last call."""
        runs = self._progress.read()
        self._watch.moved(runs)
        while self._left and all(run.reviewed_frac >= self._left[0] for run in runs):
            review = self._left.pop(0)
            folder = StudyFolder.open(self._out)
            verdicts = judge_folder(folder, at=review)
            write_verdicts(self._ledger, verdicts, at=review)
            self._watch.reviewed(folder, review, verdicts)


def conduct(plan: Plan, out: Path, *, resume: bool, watch: Watch) -> StudyFolder:
    """Run a study to its end and return its folder, with the last verdicts in the ledger."""
    ledger = register(plan, out, resume=resume)
    watch.registered(plan, out)
    conductor = Conductor(plan, out, ledger, watch)
    launch(plan.runs, out=out, resume=resume, tick=conductor.tick)
    folder = StudyFolder.open(out)
    verdicts = judge_folder(folder, at=None)
    if [verdict_json(v) for v in verdicts] != [dict(v) for v in folder.verdicts] or not folder.closed:
        write_verdicts(ledger, verdicts, at=None)
    folder = StudyFolder.open(out)
    watch.reviewed(folder, 1.0, verdicts)
    return folder
