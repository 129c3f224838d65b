"""From finished runs to a band for the next one, computed when a study is planned and frozen as numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leonids.claims.estimate import Missing, sampling_error, units_of
from leonids.claims.evidence import RunFacts, Units
from leonids.claims.measure import Measure
from leonids.claims.predicates import block_window, blocks_of
from leonids.claims.prediction import Hypothesis, Prediction, Within
from leonids.errors import SpecError
from leonids.spec import RunSpec, StudySpec
from leonids.stats.forecast import LEAST_RUNS, prediction_band
from leonids.study.folder import FolderEvidence, StudyFolder

OWN = ("run", "arm", "data_seed", "init_seed", "checkpoint_every")
"""The keys in which a further run may differ from the finished ones."""


def with_bands(study: StudySpec, runs: Sequence[RunSpec]) -> StudySpec:
    """Return the study with the band of every forecast written out as numbers.

    Raises ``SpecError`` where the finished runs are fewer than three, were made in another way than the planned
    ones, or have a seed in common with them; ``UsageError`` where their folder holds no study.
    """
    if not any(p.expect.within and not p.expect.within.at for p in study.predictions):
        return study
    hypotheses: Mapping[str, Hypothesis] = {
        name: replace(hypothesis, predictions=tuple(with_band(p, study, runs) for p in hypothesis.predictions))
        for name, hypothesis in study.hypotheses.items()
    }
    return study.model_copy(update={"hypotheses": hypotheses})


def with_band(prediction: Prediction, study: StudySpec, runs: Sequence[RunSpec]) -> Prediction:
    """Return a prediction with its forecast's band written out as numbers; every other one as it is."""
    within = prediction.expect.within
    if within is None or within.at:
        return prediction
    measure = prediction.measure
    folder = StudyFolder.open(Path(within.of))
    points = grid_of(measure, study.reviews)
    finished = _finished(prediction, folder, runs)
    curves = [_curve(measure, facts, folder, points) for facts in finished]
    band = band_of(measure, curves, within=within, points=points)
    return replace(prediction, expect=replace(prediction.expect, within=replace(band, lock=folder.entries[-1].sha256)))


def grid_of(measure: Measure, reviews: Sequence[float]) -> tuple[float, ...]:
    """Return the points of a measure's window: block ends on the training stream, reviews elsewhere."""
    start, end = measure.period
    if measure.over is None:
        return (end,)
    if measure.split == "train":
        return tuple(round(start + (end - start) * (i + 1) / measure.points, 9) for i in range(measure.points))
    return tuple(review for review in reviews if start <= review <= end)


def band_of(measure: Measure, curves: Sequence[Sequence[Units]], *, within: Within, points: Sequence[float]) -> Within:
    """Return ``within`` with its numbers: the band of the curves of finished runs, inside the metric's bounds."""
    values: NDArray[np.float64] = np.array([[units.value for units in curve] for curve in curves])
    errors = np.array([[sampling_error(measure, units, None) for units in curve] for curve in curves])
    low, high = prediction_band(values, level=within.level, errors=np.sqrt(np.mean(errors**2, axis=0)))
    kind = measure.kind
    return replace(
        within,
        at=tuple(points),
        low=tuple(float(edge) for edge in np.maximum(low, kind.low)),
        high=tuple(float(edge) for edge in np.minimum(high, kind.high)),
        runs=len(curves),
    )


def _finished(prediction: Prediction, folder: StudyFolder, runs: Sequence[RunSpec]) -> list[RunFacts]:
    """Return the finished runs of the forecast's arm, after checking that the planned ones are further such runs."""
    within, measure = prediction.expect.within, prediction.measure
    arm = (within.arm if within else None) or measure.arm
    planned = [run for run in runs if run.arm == measure.arm]
    made = {run.run: run for run in folder.runs if run.arm == arm}
    done = [facts for facts in map(partial(_facts, folder), made.values()) if facts.done_steps >= facts.planned_steps]
    if len(done) < LEAST_RUNS:
        raise SpecError(
            f"{prediction.id}: {folder.out} has {len(done)} finished runs of arm {arm!r}",
            rule=f"a forecast rests on {LEAST_RUNS} runs or more",
            way_out="finish them first, or name another folder or arm",
        )
    for run in planned:
        for facts in done:
            _check_alike(prediction.id, run, made[facts.run])
    return done


def _facts(folder: StudyFolder, run: RunSpec) -> RunFacts:
    """Return a run's facts. All its steps count: a forecast is made from what has been seen."""
    return RunFacts(run.run, run.arm, run.data_seed, run.steps, folder.streams(run.run).done_steps, "sealed")


def _check_alike(name: str, planned: RunSpec, finished: RunSpec) -> None:
    ours, theirs = _recipe(planned), _recipe(finished)
    other = next((key for key in ours if ours[key] != theirs[key]), None)
    if other is not None:
        raise SpecError(
            f"{name}: {planned.run} and the finished {finished.run} differ in {other}",
            rule="a forecast speaks of one more run made in the same way",
            way_out="use the same arm, scale, base and steps",
        )
    if planned.data_seed == finished.data_seed:
        raise SpecError(
            f"{name}: seed {planned.data_seed} is among the finished runs",
            rule="a forecast is of a run that is not there yet",
            way_out="give the study other seeds",
        )


def _recipe(run: RunSpec) -> dict[str, Any]:
    return {key: value for key, value in run.model_dump(mode="json").items() if key not in OWN}


def _curve(measure: Measure, facts: RunFacts, folder: StudyFolder, points: Sequence[float]) -> list[Units]:
    evidence = FolderEvidence(folder)
    curve: list[Units] = []
    for block in blocks_of(measure, points):
        units = units_of(measure, facts, evidence, window=block_window(block, measure, facts))
        if isinstance(units, Missing):
            raise SpecError(f"{facts.run} cannot be forecast from", rule=units.reason, way_out="name another folder")
        curve.append(units)
    return curve
