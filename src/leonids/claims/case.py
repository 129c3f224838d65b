"""What one prediction is judged on: its runs, their readings, or the reason why there are none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

from leonids.claims.estimate import Missing, Reading, peek_safe
from leonids.claims.evidence import Evidence, RunFacts, step_at
from leonids.claims.predicates import Group, predicate_of
from leonids.claims.prediction import Prediction
from leonids.claims.regions import Place, Region
from leonids.records import Grade, Word
from leonids.stats.intervals import Absent, Bounds

GRADES: tuple[Grade, ...] = ("anchored", "sealed", "late", "unverifiable", "broken")
"""From the strongest to the weakest; a verdict has the weakest grade of the runs it rests on."""

N_MIN = {"seeds": 2, "run": 10}


@final
@dataclass(frozen=True, slots=True)
class Case:
    """A prediction with the data it is judged on; ``word`` is set where the data cannot judge it."""

    prediction: Prediction
    region: Region
    grade: Grade
    readings: tuple[Reading, ...] = ()
    word: Word | None = None
    reason: str = ""

    def supports(self, share: float) -> bool:
        """Whether every reading lies inside the region at ``share`` of alpha."""
        return self.ready and all(self.place(r, share) == "inside" for r in self.readings)

    def refutes(self, share: float) -> bool:
        """Whether a reading lies outside on a refuting side; several readings split the error (Bonferroni)."""
        each = share / max(1, len(self.readings))
        return self.ready and any(self.region.refuted_by(self.place(r, each)) for r in self.readings)

    def interval(self, reading: Reading, share: float) -> Bounds:
        """Return the interval that decides at ``share`` of this prediction's alpha."""
        return reading.interval(level=self.region.level(self.prediction.alpha * share))

    @property
    def n_min(self) -> int:
        """The least number of units."""
        return self.prediction.n_min or N_MIN[self.prediction.scope]

    @property
    def ready(self) -> bool:
        """Whether there are readings, of enough units each."""
        return self.word is None and bool(self.readings) and min(r.n for r in self.readings) >= self.n_min

    def place(self, reading: Reading, share: float) -> Place:
        """Return where the deciding interval of ``reading`` lies; ``straddles`` where there is none."""
        found = self.interval(reading, share)
        return "straddles" if isinstance(found, Absent) else self.region.place(found)


def case_of(prediction: Prediction, evidence: Evidence, *, at: float | None) -> Case:
    """Collect what a prediction is judged on, or the reason why it cannot be."""
    row = predicate_of(prediction)
    runs = {arm: _runs(prediction, arm, evidence) for arm in prediction.arms}
    used = [facts for group in runs.values() for facts in group]
    case = Case(prediction, row.region(prediction), _grade(prediction, used))
    problem = _problem(prediction, runs, at=at)
    if problem is not None:
        waiting = _so_far(prediction, runs, evidence) if problem[0] == "not_due" else ()
        return replace(case, word=problem[0], reason=problem[1], readings=waiting)
    groups = _groups(prediction, runs)
    if not groups:
        return replace(case, word="void", reason=f"arms {' and '.join(prediction.arms)} share no seed")
    readings = row.read(prediction, groups, evidence)
    if isinstance(readings, Missing):
        return replace(case, word="void", reason=readings.reason)
    return replace(case, readings=readings)


def _runs(prediction: Prediction, arm: str, evidence: Evidence) -> tuple[RunFacts, ...]:
    seed = prediction.measure.seed
    runs = (facts for facts in evidence.runs(arm, prediction=prediction.id) if facts.planned)
    return tuple(facts for facts in runs if seed is None or facts.seed == seed)


def _groups(prediction: Prediction, runs: Mapping[str, Sequence[RunFacts]]) -> list[Group]:
    by_seed = [{facts.seed: facts for facts in runs[arm]} for arm in prediction.arms]
    shared = [seed for seed in by_seed[0] if all(seed in arm for arm in by_seed)]
    if prediction.scope == "run":
        shared = shared[:1]
    return [tuple(arm[seed] for arm in by_seed) for seed in shared]


def _grade(prediction: Prediction, used: Sequence[RunFacts]) -> Grade:
    if any(facts.broken for facts in used):
        return "broken"
    worst = max((GRADES.index(facts.grade) for facts in used), default=GRADES.index("unverifiable"))
    seen = any(
        facts.seen_steps >= max(1, step_at(prediction.measure.due, planned_steps=facts.planned_steps)) for facts in used
    )
    return GRADES[max(worst, GRADES.index("late")) if seen else worst]


def _problem(
    prediction: Prediction, runs: Mapping[str, Sequence[RunFacts]], *, at: float | None
) -> tuple[Word, str] | None:
    due = prediction.measure.due
    broken = [facts.run for group in runs.values() for facts in group if facts.broken]
    if broken:
        return "void", f"the record of run {broken[0]} is not what was written"
    if changed := [facts.changed for group in runs.values() for facts in group if facts.changed]:
        return "void", f"metric changed: {changed[0]}"
    if at is not None and due > at + 1e-9:
        return "not_due", f"due at {100 * due:g}%"
    for arm, group in runs.items():
        if not group or not any(facts.done_steps for facts in group):
            return ("void", f"arm {arm} was not run") if at is None else ("not_due", f"arm {arm} has not begun")
        for facts in group:
            step = step_at(due, planned_steps=facts.planned_steps)
            if facts.done_steps < step:
                where = f"run {facts.run} is at step {facts.done_steps}, due at {step}"
                return ("void", f"never measured: {where}") if at is None else ("not_due", where)
    return None


def _so_far(prediction: Prediction, runs: Mapping[str, Sequence[RunFacts]], evidence: Evidence) -> tuple[Reading, ...]:
    """Return what the measure would read if it were due now; empty where that is not defined yet."""
    measure = prediction.measure
    groups = _groups(prediction, runs)
    marks = [
        (evidence.last_step(facts.run, split=measure.split, by=facts.done_steps) or 0) / facts.planned_steps
        for group in groups
        for facts in group
    ]
    now = min([*marks, measure.due], default=0.0)
    start = measure.over[0] if measure.over is not None else 0.0
    whole_only = prediction.expect.falls_after is not None or prediction.expect.within is not None
    if now <= start or whole_only or not groups:
        return ()
    over = None if measure.over is None else (start, now)
    earlier = replace(prediction, measure=replace(measure, at=now if over is None else None, over=over))
    readings = predicate_of(prediction).read(earlier, groups, evidence)
    if isinstance(readings, Missing):
        return ()
    peeked = (peek_safe(earlier.measure, reading, scope=prediction.scope) for reading in readings)
    return tuple(replace(reading, at=f"{100 * now:.3g}%") for reading in peeked)
