"""Conducting a study: register, then train, judging at each review. Time and effects are here and in ``launch``."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, cast, final

from leonids.claims.evidence import step_at
from leonids.claims.judge import judge
from leonids.claims.lint import lint
from leonids.claims.metrics import metric_versions
from leonids.claims.prediction import resolved
from leonids.digest import Json, canonical_json
from leonids.errors import OutputError, SpecError, UsageError
from leonids.launch import Pass, check_installed, launch, rehearsal
from leonids.ledger.chain import Ledger, heads_in, read_entries
from leonids.ledger.entry import Entry
from leonids.ledger.lines import HEAD, LEDGER, MAIN
from leonids.ledger.runs import run_state
from leonids.ledger.writers import claim, take_over
from leonids.records import Verdict
from leonids.spec import FOREIGN, RunSpec
from leonids.study.floors import ArmFloors, floors_by_arm
from leonids.study.folder import FLOORS, PLAN, FolderEvidence, StudyFolder, note_about
from leonids.study.plan import Plan
from leonids.study.progress import Progress, RunProgress, sealed_steps
from leonids.study.setting import setting_of

WAIT_S = 1.0


class Watch(Protocol):
    """Whoever follows a study while it runs."""

    def registered(self, plan: Plan, out: Path) -> None:
        """The predictions are locked; nothing has run."""
        ...

    def grouped(self, passes: Sequence[Pass]) -> None:
        """The runs are grouped into passes; none has begun."""
        ...

    def waiting(self, runs: Mapping[str, str]) -> None:
        """All that is left are runs of other writers, ``{run: writer}``."""
        ...

    def moved(self, runs: Sequence[RunProgress]) -> None:
        """The runs have gone on."""
        ...

    def reviewed(self, folder: StudyFolder, at: float, verdicts: Sequence[Verdict]) -> None:
        """Every run has passed a review, and what fell due was judged."""
        ...


def register(plan: Plan, out: Path, *, resume: bool = False, rehearsed: Callable[[], None] = lambda: None) -> Ledger:
    """Lock a plan: its floors and predictions go into the folder's ledger before anything runs.

    Everything that can be wrong with the plan is found before the first byte is written: a claim that lint refuses
    is not locked (``SpecError``), nor a plan of which ``rehearsed`` raises. A registration that was cut short is
    completed. Raises ``OutputError`` where the folder holds another study, this one with something changed since the
    lock, or this one and ``resume`` is not asked for.
    """
    entries = _present(plan, out, resume=resume)
    floors = None if note_about(entries, FLOORS) else floors_by_arm(plan.runs)
    if floors is not None:
        _check_claims(plan, floors)
        rehearsed()
    ledger = Ledger.open(out)
    if note_about(entries, PLAN) is None:
        ledger.append("note", {"about": PLAN, "digest": plan.digest, **plan.to_json()})
    if floors is not None:
        ledger.append("note", {"about": FLOORS, "arms": plain({arm: f.to_json() for arm, f in floors.items()})})
    locked = [cast("dict[str, Json]", resolved(prediction)) for prediction in plan.predictions]
    ledger.register(locked, more={"metrics": metric_versions()})
    return ledger


def _check_claims(plan: Plan, floors: Mapping[str, ArmFloors]) -> None:
    setting = setting_of(plan.study, plan.runs, floors=floors)
    worthless = [found for found in lint(plan.study.hypotheses, setting) if found.refuses]
    if worthless:
        more = f" (and {len(worthless) - 1} more)" if worthless[1:] else ""
        raise SpecError(f"{worthless[0].place}: {worthless[0].says}{more}", way_out=worthless[0].fix)


def _present(plan: Plan, out: Path, *, resume: bool) -> Sequence[Entry]:
    """Return the entries of the plan's own ledger in a folder, none for a new folder. Raises ``OutputError``."""
    if not (out / LEDGER).is_file():
        _check_new(out)
        return ()
    entries = read_entries(out)
    body = note_about(entries, PLAN)
    if body is None and len(entries) <= 1:
        return entries
    if body is None or body["study"].get("study") != plan.study.study:
        held = "runs of no study" if body is None else f"the study {body['study'].get('study')!r}"
        raise OutputError(f"{out} holds {held}", rule="a study has a folder of its own", way_out="choose another --out")
    if body.get("digest") != plan.digest:
        raise OutputError(
            f"{out} holds this study with {_changed(body, plan)}",
            rule="what is registered is not changed",
            way_out="put it back as it was, or choose another --out",
        )
    if not resume:
        raise OutputError(
            f"{out} holds this study already", rule="data are never written over", way_out="go on with --resume"
        )
    return entries


def _check_new(out: Path) -> None:
    """Refuse a folder that cannot be a new study's, before the floors take their time."""
    there = next((path for path in (out, *out.resolve().parents) if path.exists()), out)
    if not there.is_dir():
        raise OutputError(f"{out} cannot be made", rule=f"{there} is a file", way_out="choose another --out")
    if not os.access(there, os.W_OK | os.X_OK):
        raise OutputError(f"{there} cannot be written", rule="a study's folder is", way_out="choose another --out")
    if out.is_dir() and any(path.name not in (HEAD, "ledger.lock") for path in out.iterdir()):
        raise OutputError(f"{out} is not empty", rule="a study has a folder of its own", way_out="choose another --out")


def _changed(body: Mapping[str, Any], plan: Plan) -> str:
    """Say what differs between a registered plan and this one: a prediction, the runs, or the rest."""
    now = plan.to_json()
    before, after = ({p["id"]: p for h in x["hypotheses"].values() for p in h["predictions"]} for x in (body, now))
    for name in dict.fromkeys([*before, *after]):
        if canonical_json(before.get(name)) != canonical_json(after.get(name)):
            return f"another prediction {name}"
    named = [("runs", "other runs (arms, scale, base or steps)"), ("hypotheses", "other hypotheses")]
    for key, text in [*named, ("questions", "other questions")]:
        if canonical_json(body[key]) != canonical_json(now[key]):
            return text
    return "another title, arm or scale"


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
    # To hash long streams takes as long as to judge them and can be done beside (``begin_checks``): so verdicts are
    # made before it is known that the streams are what was sealed, and made again where they are not. What was changed
    # may hold anything, and whatever that raises is raised again below where it is not that.
    folder.begin_checks()
    evidence = FolderEvidence(folder, until=at, checked=False)
    with suppress(Exception):
        verdicts = judge(folder.hypotheses, evidence, at=at, withdrawn=folder.withdrawn)
        # From the end: a process beside has begun at the beginning.
        if all(folder.is_intact(*rests) for rests in reversed(evidence.rests_on)):
            return verdicts
    return judge(folder.hypotheses, FolderEvidence(folder, until=at), at=at, withdrawn=folder.withdrawn)


def write_verdicts(ledger: Ledger, verdicts: Sequence[Verdict], *, at: float | None, run: str = "") -> None:
    """Add the verdicts of one review to the ledger; ``at`` None closes the study.

    ``run`` is the run that passed the review, where runs of a study pass it one by one.
    """
    body: dict[str, Json] = {"at": "end" if at is None else at, "verdicts": [verdict_json(v) for v in verdicts]}
    ledger.append("verdict", body | ({"run": run} if run else {}))


@final
class Conductor:
    """Follows the runs of a plan and judges at every review that all of them have passed."""

    def __init__(self, plan: Plan, out: Path, ledger: Ledger, watch: Watch) -> None:
        self._plan = plan
        self._out = out
        self._ledger = ledger
        self._watch = watch
        self._heads: Mapping[str, Json] = {}
        self._progress = Progress(plan.runs, out, head=StudyFolder.open(out).head)

    def tick(self) -> None:
        """Show what the runs have written since the last call; judge each review that they have sealed, once."""
        self._watch.moved(self._progress.read())
        if (heads := heads_in(self._out, but=MAIN)) != self._heads:
            take_over(self._out, self._ledger)
            self._heads = heads
        for review in self._due():
            folder = StudyFolder.open(self._out)
            verdicts = judge_folder(folder, at=review)
            write_verdicts(self._ledger, verdicts, at=review)
            self._watch.reviewed(folder, review, verdicts)

    def wait(self, runs: Mapping[str, str]) -> None:
        """Judge on until the runs of other writers, ``{run: writer}``, have ended as well."""
        if runs:
            self._watch.waiting(runs)
        while any(run_state(self._ledger.entries(), run) != "finished" for run in runs):
            time.sleep(WAIT_S)
            self.tick()

    def _due(self) -> list[float]:
        entries = self._ledger.entries()
        judged = {entry.body["at"] for entry in entries if entry.type == "verdict"}
        sealed = {run.run: sealed_steps(entries, run.run) for run in self._plan.runs}
        return [
            review
            for review in self._plan.study.reviews
            if review < 1.0
            and review not in judged
            and all(sealed[run.run] >= step_at(review, planned_steps=run.steps) for run in self._plan.runs)
        ]


def check_trainable(runs: Sequence[RunSpec]) -> None:
    """Raise what keeps runs from being trained, before anything is written."""
    check_installed(runs)
    for run in runs:
        if run.universe is None:
            raise UsageError(
                f"arm {run.arm} has the universe {FOREIGN!r}",
                rule="leonids trains on universes of LEO",
                way_out="train it with a trainer of yours and LeonidsCallback, or leave it out with --arms",
            )


def conduct(plan: Plan, out: Path, *, resume: bool, watch: Watch) -> StudyFolder:
    """Run a study to its end and return its folder, with the last verdicts in the ledger.

    What another writer has claimed is waited for instead of trained.
    """
    check_trainable(plan.runs)
    known = (out / LEDGER).is_file()
    with nullcontext(lambda: None) if known else rehearsal(plan.runs, out=out) as rehearsed:
        ledger = register(plan, out, resume=resume, rehearsed=rehearsed)
    watch.registered(plan, out)
    owners = {run.run: claim(out, run.run, MAIN) for run in plan.runs}
    conductor = Conductor(plan, out, ledger, watch)
    own = [run for run in plan.runs if owners[run.run] == MAIN]
    if own:
        launch(own, out=out, resume=resume, tick=conductor.tick, planned=watch.grouped)
    conductor.wait({run: writer for run, writer in owners.items() if writer != MAIN})
    folder = StudyFolder.open(out)
    verdicts = judge_folder(folder, at=None)
    if not folder.closed:
        write_verdicts(ledger, verdicts, at=None)
        folder = StudyFolder.open(out)
    watch.reviewed(folder, 1.0, verdicts)
    return folder
