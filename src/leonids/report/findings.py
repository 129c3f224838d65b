"""What a folder says, gathered once for every section of the report."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import final

from leonids.claims.evidence import step_at
from leonids.claims.prediction import Prediction
from leonids.claims.status import Answer, Status, answer_question, statuses
from leonids.records import Verdict
from leonids.report.claimed import verdict_of
from leonids.report.explain import Explanation, explain
from leonids.spec import RunSpec, StudySpec
from leonids.study.folder import StudyFolder


@final
@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One review: its progress, its run-by-run explanations, and the predictions that fall due there."""

    progress: float
    explanations: tuple[Explanation, ...]
    due: tuple[Prediction, ...]

    @property
    def label(self) -> str:
        """The progress as text, such as ``15 %``; the base before any training is at ``0 %``."""
        return f"{100 * self.progress:g} %"

    @property
    def waiting(self) -> int:
        """How many planned runs were not measured there yet."""
        return sum(found.step is None for found in self.explanations)

    @property
    def reached(self) -> bool:
        """Whether every planned run was measured there."""
        return self.waiting == 0


@final
@dataclass(frozen=True, slots=True)
class Findings:
    """A folder with its verdicts and explanations; ``verdicts`` lacks what was never judged."""

    folder: StudyFolder
    verdicts: Mapping[str, Verdict]
    statuses: Mapping[str, Status]
    answers: tuple[Answer, ...]
    explanations: tuple[Explanation, ...]
    checkpoints: tuple[Checkpoint, ...]

    @property
    def ahead(self) -> Checkpoint | None:
        """The first review after the start that not every run has reached; None where none is left."""
        return next((at for at in self.checkpoints if at.progress > 0 and not at.reached), None)

    @property
    def predictions(self) -> tuple[Prediction, ...]:
        """The study's predictions in the order written."""
        return self.folder.study.predictions


def verdicts_of(folder: StudyFolder) -> tuple[Verdict, ...]:
    """Return the last verdict of each prediction in the ledger, in the order of the ledger."""
    return tuple(verdict_of(value) for value in folder.verdicts)


def judged(folder: StudyFolder) -> Findings:
    """Read what the ledger alone says: verdicts, statuses, answers; nothing that was measured."""
    verdicts = verdicts_of(folder)
    return Findings(
        folder=folder,
        verdicts={verdict.prediction: verdict for verdict in verdicts},
        statuses={status.hypothesis: status for status in statuses(folder.hypotheses, verdicts)},
        answers=tuple(answer_question(question, verdicts) for question in folder.questions),
        explanations=(),
        checkpoints=(),
    )


def gather(folder: StudyFolder) -> Findings:
    """Read everything that the report shows. Reading changes nothing."""
    explanations = tuple(explain(folder, run.run) for run in folder.runs)
    return replace(judged(folder), explanations=explanations, checkpoints=_checkpoints(folder))


def review_step(run: RunSpec, progress: float) -> int:
    """Return the step of a run's review: 0 is the base itself, any other comes after the first step at the earliest."""
    return max(1, step_at(progress, planned_steps=run.steps)) if progress > 0 else 0


def due_by_review(study: StudySpec) -> tuple[tuple[float, tuple[Prediction, ...]], ...]:
    """Return each review's progress with the predictions that fall due there: since the review before it."""
    befores = (0.0, *study.reviews)
    return tuple(
        (progress, tuple(p for p in study.predictions if before < p.measure.due <= progress))
        for before, progress in zip(befores, study.reviews, strict=False)
    )


def _checkpoints(folder: StudyFolder) -> tuple[Checkpoint, ...]:
    base: tuple[tuple[float, tuple[Prediction, ...]], ...] = ((0.0, ()),)
    dues = (base if any(0 in run.reviews for run in folder.runs) else ()) + due_by_review(folder.study)
    return tuple(
        Checkpoint(at, tuple(explain(folder, run.run, step=review_step(run, at)) for run in folder.runs), due)
        for at, due in dues
    )
