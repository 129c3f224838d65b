"""A study's output folder, read back: plan, floors, predictions, runs, verdicts. Reading changes nothing."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast, final

import numpy as np

from leonids.claims.evidence import RunFacts, Units, Window, step_at
from leonids.claims.metrics import DERIVED, metric_versions
from leonids.claims.prediction import Hypothesis, Question, resolved
from leonids.errors import IntegrityError, UsageError
from leonids.ledger.entry import Entry
from leonids.ledger.grades import grade, watermark_of
from leonids.ledger.lines import MAIN
from leonids.ledger.manifest import read_manifest
from leonids.ledger.registered import Registered, registered
from leonids.ledger.runs import intact, run_state
from leonids.ledger.writers import broken_writers, read_witnessed
from leonids.records import CELLS, Grade
from leonids.spec import FOREIGN, RunSpec, StudySpec, validate
from leonids.study.ahead import Ahead, tiles_of
from leonids.study.progress import sealed_steps
from leonids.study.streams import STEPS, RunStreams, Table
from leonids.study.windows import last_step

PLAN, FLOORS, RUN = "plan", "floors", "run"


def note_about(entries: Sequence[Entry], about: str) -> Mapping[str, Any] | None:
    """Return the body of the first note about a subject, or None."""
    found = (entry.body for entry in entries if entry.type == "note" and entry.body.get("about") == about)
    return next(found, None)


def _plan_of(runs: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    arms = {run["arm"]: {"universe": (run["universe"] or {"universe": FOREIGN})["universe"]} for run in runs}
    reviews = {step / run["steps"] for run in runs for step in run["reviews"] if step}
    scale = {key: runs[0][key] for key in ("base", "steps", "batch_size", "lr")}
    study = {
        "study": RUN,
        "title": "Runs without predictions",
        "arms": arms,
        "seeds": sorted({run["data_seed"] for run in runs}),
        "reviews": sorted({*reviews, 1.0}),
        "scales": {"full": scale},
    }
    return {"study": study, "hypotheses": {}, "questions": [], "scale": "full", "runs": runs}


def added(entries: Sequence[Entry], plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was locked after the plan, as hypotheses in JSON.

    Each entry's predictions are a family of their own, so that a later lock changes no verdict of an earlier one.
    """
    planned = {
        prediction["id"] for hypothesis in plan["hypotheses"].values() for prediction in hypothesis["predictions"]
    }
    found: dict[str, Any] = {}
    for versions in registered(entries).values():
        for version in versions:
            if version.version == 1 and version.id in planned:
                continue
            why = "" if version.version == 1 else f" instead of {version.id}"
            why += f": {version.reason}" if version.reason else ""
            said = {"claim": f"Locked later, by ledger entry {version.seq + 1}{why}.", "predictions": []}
            family = found.setdefault(f"later-{version.seq + 1}", said)
            family["predictions"].append({**version.prediction, "id": version.judged_as})
    return found


@final
@dataclass(frozen=True)
class StudyFolder:
    """What lies in a folder. What the judge (through ``FolderEvidence``), the report and the page read."""

    out: Path
    entries: tuple[Entry, ...]

    @classmethod
    def open(cls, out: Path) -> "StudyFolder":
        """Read a folder's ledger. Raises ``UsageError`` where there is no study, ``IntegrityError`` if changed."""
        entries = read_witnessed(out)
        if note_about(entries, PLAN) is None and note_about(entries, RUN) is None:
            raise UsageError(f"{out} holds no study", rule="`leonids run` or `leonids register` writes its plan first")
        return cls(out, entries)

    @cached_property
    def plan(self) -> Mapping[str, Any]:
        """The plan as the ledger holds it; for runs without predictions, a study of them that predicts nothing."""
        return note_about(self.entries, PLAN) or _plan_of(
            [
                cast("Mapping[str, Any]", entry.body["run"])
                for entry in self.entries
                if entry.type == "note" and entry.body.get("about") == RUN
            ]
        )

    @cached_property
    def study(self) -> StudySpec:
        """The study as it was when it was registered, and what was locked after that (see ``added``).

        Raises ``IntegrityError`` where the plan states a prediction otherwise than its lock, on which verdicts rest.
        """
        hypotheses = {**self.plan["hypotheses"], **added(self.entries, self.plan)}
        data = {**self.plan["study"], "hypotheses": hypotheses, "questions": self.plan["questions"]}
        study = validate(StudySpec, data, name="the ledger's plan")
        locked = {v.judged_as: v for versions in self.registered.values() for v in versions}
        for prediction in study.predictions:
            lock = locked.get(prediction.id)
            if lock is not None and {**lock.prediction, "id": prediction.id} != resolved(prediction):
                raise IntegrityError(
                    f"the plan states {prediction.id} otherwise than ledger entry {lock.seq + 1}, which locks it",
                    rule="a verdict rests on the words that were locked",
                )
        return study

    @cached_property
    def registered(self) -> Mapping[str, Sequence[Registered]]:
        """Each prediction's versions in the ledger, oldest first."""
        return registered(self.entries)

    @cached_property
    def _entries_of(self) -> Mapping[str, Sequence[Entry]]:
        """The ledger's entries by the run that they are about."""
        found: dict[str, list[Entry]] = {run.run: [] for run in self.runs}
        for entry in self.entries:
            run = entry.body.get("run")
            if isinstance(run, str) and run in found:
                found[run].append(entry)
        return found

    @cached_property
    def locks(self) -> Mapping[str, tuple[str, int]]:
        """Each prediction's id and version in the ledger, by the id under which it is judged."""
        return {v.judged_as: (v.id, v.version) for versions in self.registered.values() for v in versions}

    @cached_property
    def withdrawn(self) -> Mapping[str, str]:
        """The reasons of withdrawn predictions, by the id under which they are judged."""
        versions = (v for versions in self.registered.values() for v in versions)
        return {version.judged_as: version.withdrawn for version in versions if version.withdrawn}

    @cached_property
    def runs(self) -> tuple[RunSpec, ...]:
        """The planned runs."""
        return tuple(validate(RunSpec, run, name="the ledger's plan") for run in self.plan["runs"])

    @property
    def hypotheses(self) -> Mapping[str, Hypothesis]:
        """The hypotheses with their predictions."""
        return self.study.hypotheses

    @property
    def questions(self) -> tuple[Question, ...]:
        """The key questions."""
        return self.study.questions

    @cached_property
    def floors(self) -> Mapping[str, Any]:
        """Floors by arm, as computed before the first run (``study.floors.ArmFloors`` as JSON)."""
        body = note_about(self.entries, FLOORS)
        return {} if body is None else cast("Mapping[str, Any]", body["arms"])

    @cached_property
    def verdicts(self) -> tuple[Mapping[str, Any], ...]:
        """The last verdict of each prediction in the ledger, as JSON."""
        last: dict[str, Mapping[str, Any]] = {}
        for entry in self.entries:
            if entry.type == "verdict":
                for verdict in cast("Sequence[Mapping[str, Any]]", entry.body["verdicts"]):
                    # A review that another arm passes later hides data that this one was judged on.
                    if verdict["word"] != "not_due" or str(verdict["prediction"]) not in last:
                        last[str(verdict["prediction"])] = verdict
        return tuple(last.values())

    @property
    def progress_frac(self) -> float:
        """The furthest progress of a planned run, with its lines sealed in the ledger."""
        return max(sealed_steps(self._entries_of[run.run], run.run) / run.steps for run in self.runs)

    @property
    def closed(self) -> bool:
        """Whether the last verdicts are in the ledger."""
        return any(entry.type == "verdict" and entry.body["at"] == "end" for entry in self.entries)

    @cached_property
    def _streams(self) -> dict[str, RunStreams]:
        return {run.run: RunStreams(self.out / run.run, run.run, self._ahead) for run in self.runs}

    @cached_property
    def _ahead(self) -> Ahead:
        return Ahead()

    def streams(self, run: str) -> RunStreams:
        """Return a planned run's streams."""
        return self._streams[run]

    @cached_property
    def head(self) -> Mapping[str, Mapping[str, float]]:
        """The head's floor by arm and role in nats per token, of the arms where it is known."""
        return {arm: floor["head"]["nats"] for arm, floor in self.floors.items() if not floor["head"].get("reason")}

    def head_nats(self, arm: str, role: str) -> float:
        """Return the head's floor of a role's tokens in nats per token; 0 where it is not known."""
        return float(self.head.get(arm, {}).get(role, 0.0))

    # --- what the judge asks (claims.evidence.Evidence) ---

    def runs_of(self, arm: str) -> tuple[RunSpec, ...]:
        """Return the planned runs of an arm."""
        return tuple(run for run in self.runs if run.arm == arm)

    def facts(self, arm: str, *, prediction: str, checked: bool = True) -> tuple[RunFacts, ...]:
        """Return what is known of an arm's runs, planned ones that have not begun among them.

        Where it is not ``checked``, none is said to be broken: ``is_intact`` says it of each.
        """
        return tuple(
            RunFacts(
                run=run.run,
                arm=run.arm,
                seed=run.data_seed,
                planned_steps=run.steps,
                # What the ledger does not know of has not begun, whatever lies in the run's folder.
                done_steps=0 if self._state(run.run) == "absent" else self.streams(run.run).done_steps,
                grade=self._grade(run.run, prediction),
                seen_steps=self._seen_steps(run.run, prediction),
                broken=checked and not self.is_intact(run.run, prediction),
                changed=self._changed(run.run, prediction),
            )
            for run in self.runs_of(arm)
        )

    @cached_property
    def _states(self) -> dict[str, str]:
        return {run.run: run_state(self._entries_of[run.run], run.run) for run in self.runs}

    @cached_property
    def _intact(self) -> Callable[[str, str], bool]:
        """Says of a run and a stream that a prediction rests on whether it is what the ledger sealed of it."""
        wanted: dict[tuple[str, str], int] = {}
        for claim in self.study.predictions:
            for run in (run for run in self.runs if run.arm in claim.arms):
                # A training stream is long: it is checked as far as any prediction reads it.
                if claim.measure.split != "train":
                    wanted[run.run, "reviews"] = sys.maxsize
                    continue
                due = step_at(claim.measure.due, planned_steps=run.steps)
                wanted[run.run, "steps"] = max(due, wanted.get((run.run, "steps"), 0))
        return intact(self.out, [(*key, until) for key, until in wanted.items()], self._entries_of)

    def read_ahead(self, *, at: float) -> None:
        """Have a process beside read the training rows that predictions due by a progress rest on, if they are many."""
        streams = [(run, self.out / run.run / STEPS) for run in self.runs]
        self._ahead.begin(tiles_of(self.study.predictions, streams, at=at))

    def begin_checks(self) -> None:
        """Have the streams that predictions rest on hashed beside the caller; whoever judges waits for it anyway."""
        _ = self._intact

    @cached_property
    def _broken_writers(self) -> frozenset[str]:
        return broken_writers(self.out)

    def is_intact(self, run: str, prediction: str) -> bool:
        """Whether the stream that a prediction rests on, and its writer's chain, is what was sealed of it."""
        writer = next((e.writer for e in self._entries_of[run] if e.type == "data_start"), MAIN)
        if writer != MAIN and writer in self._broken_writers:
            return False
        split = next(one.measure.split for one in self.study.predictions if one.id == prediction)
        return self._intact(run, "steps" if split == "train" else "reviews")

    @cached_property
    def _lock_entries(self) -> Mapping[str, Entry]:
        versions = (v for versions in self.registered.values() for v in versions)
        return {version.judged_as: self.entries[version.seq] for version in versions}

    @cached_property
    def _measured_as(self) -> dict[str, Mapping[str, Any]]:
        return {}

    def _changed(self, run: str, prediction: str) -> str:
        """Say which metric of a prediction this run, or this program, defines otherwise than its lock; empty if none.

        What states no versions, such as an imported run, is not compared.
        """
        metric = next(one.measure.metric for one in self.study.predictions if one.id == prediction)
        locked = cast("Mapping[str, int]", self._lock_entries[prediction].body.get("metrics", {}))
        if run not in self._measured_as:
            self._measured_as[run] = read_manifest(self.out / run).get("metrics", {})
        here = cast("Mapping[str, int]", metric_versions())
        for name in (metric, *DERIVED.get(metric, ())):
            for who, stated in ((f"run {run}", self._measured_as[run]), ("this program", here)):
                if locked.get(name) != stated.get(name) and name in locked and name in stated:
                    return f"{name} was locked in version {locked[name]}, {who} has version {stated[name]}"
        return ""

    def _state(self, run: str) -> str:
        return self._states[run]

    def _grade(self, run: str, prediction: str) -> Grade:
        # A run that has not begun has no data that a prediction could have seen.
        begun = self._state(run) != "absent"
        name, version = self.locks[prediction]
        return grade(self.entries, run, name, version=version, known=self.registered) if begun else "sealed"

    def _seen_steps(self, run: str, prediction: str) -> int:
        """Return how many steps of a run may have existed when a prediction was locked."""
        if self._state(run) == "absent":
            return 0
        name, version = self.locks[prediction]
        seen = watermark_of(self.entries, name, run, version=version, known=self.registered)
        if seen is None:
            return self.streams(run).done_steps
        # The first line of a stream says where it starts; a step is a line after it.
        return max(0, seen.get("steps", 0) - 1)

    def table(self, run: str, split: str) -> Table | None:
        """Return a run's rows of a split, or None where there are none."""
        streams = self.streams(run)
        return streams.steps if split == "train" else streams.observations.get(split)

    def units(self, run: str, *, metric: str, tokens: str, split: str, window: Window) -> Units | None:
        """Return the rows of a metric inside a window, of which ``DERIVED`` ones are differences of others."""
        metrics = DERIVED.get(metric, (metric,))
        streams = self.streams(run)
        rows = streams.window(split, metrics, first_step=window.first_step, last_step=window.last_step)
        found = self._metric(rows, run, metric, tokens)
        if found is None or not len(rows.steps):
            return None
        counted = found[1] > 0
        return Units(
            totals=found[0][counted],
            counts=found[1][counted],
            steps=rows.steps[counted],
            keys=rows.keys[counted],
            unit="steps" if split == "train" else "examples",
        )

    def _metric(self, rows: Table, run: str, metric: str, tokens: str) -> tuple[Any, Any] | None:
        if metric not in DERIVED:
            return rows.pooled(metric, tokens)
        if metric == "overconfidence":
            sure, right = (rows.pooled(name, tokens) for name in DERIVED[metric])
            return None if sure is None or right is None else (sure[0] - right[0], sure[1])
        arm = next(spec.arm for spec in self.runs if spec.run == run)
        counts = {role: rows.counts[key] for role in CELLS[tokens] if (key := ("loss", role)) in rows.counts}
        head = np.sum([self.head_nats(arm, role) * count for role, count in counts.items()], axis=0)
        loss, floor = rows.pooled("loss", tokens), rows.pooled("floor", tokens)
        if loss is None or floor is None:
            return None
        return (head, loss[1]) if metric == "head_floor" else (loss[0] - floor[0] - head, loss[1])

    def last_step(self, run: str, *, split: str, by: int) -> int | None:
        """Return the last step up to ``by`` at which a split was measured, or None."""
        streams = self.streams(run)
        if split == "train":
            return last_step(streams.folder / STEPS, by=by) or None
        return max((step for step in streams.measured_steps(split) if step <= by), default=None)


@final
class FolderEvidence:
    """A folder as the judge sees it (``claims.evidence.Evidence``).

    ``until`` hides what came after that progress, and what the ledger has not sealed, so that a review says the same
    whenever it is made again. Where it is not ``checked``, streams are taken to be what was sealed, and ``rests_on``
    has each run and prediction that this was said of.
    """

    def __init__(self, folder: StudyFolder, *, until: float | None = None, checked: bool = True) -> None:
        self._folder = folder
        self._checked = checked
        self.rests_on: dict[tuple[str, str], None] = {}
        self._last = {
            run.run: run.steps
            if until is None
            else min(step_at(until, planned_steps=run.steps), sealed_steps(folder.entries, run.run))
            for run in folder.runs
        }

    def runs(self, arm: str, *, prediction: str) -> tuple[RunFacts, ...]:
        """Return the planned runs of an arm."""
        facts = self._folder.facts(arm, prediction=prediction, checked=self._checked)
        self.rests_on |= {(fact.run, prediction): None for fact in facts}
        return tuple(replace(fact, done_steps=min(fact.done_steps, self._last[fact.run])) for fact in facts)

    def units(self, run: str, *, metric: str, tokens: str, split: str, window: Window) -> Units | None:
        """Return the rows of a metric inside a window."""
        seen = Window(window.first_step, min(window.last_step, self._last[run]))
        return self._folder.units(run, metric=metric, tokens=tokens, split=split, window=seen)

    def last_step(self, run: str, *, split: str, by: int) -> int | None:
        """Return the last measured step of a split."""
        return self._folder.last_step(run, split=split, by=min(by, self._last[run]))
