"""From a study to the runs that answer it: pure, and the same every time."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from leonids.claims.evidence import step_at
from leonids.claims.prediction import Prediction, resolved
from leonids.digest import digest_of
from leonids.errors import SpecError, UsageError
from leonids.spec import FOREIGN, AdapterSpec, ArmSpec, RunSpec, ScaleSpec, StudySpec, load_universe
from leonids.study.forecast import with_bands
from leonids.universe.blueprint import UniverseSpec
from leonids.universe.splits import check_names, check_transfer


@final
@dataclass(frozen=True, slots=True)
class Choices:
    """What the command line may change of a study. None leaves the study's own word."""

    scale: str | None = None
    base: str | None = None
    arms: tuple[str, ...] | None = None
    steps: int | None = None


@final
@dataclass(frozen=True, slots=True)
class Plan:
    """A study resolved: every run whole, the reviews as steps, and the predictions to be registered."""

    study: StudySpec
    scale: str
    runs: tuple[RunSpec, ...]
    predictions: tuple[Prediction, ...]

    @property
    def base(self) -> str:
        """The base that all runs share."""
        return self.runs[0].base

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms that are run, in the study's order."""
        return tuple(dict.fromkeys(run.arm for run in self.runs))

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON: the body of the ledger's first entry, from which everything can be judged again."""
        return {
            "study": self.study.model_dump(mode="json", exclude={"hypotheses", "questions"}),
            "hypotheses": resolved(dict(self.study.hypotheses)),
            "questions": resolved(tuple(self.study.questions)),
            "scale": self.scale,
            "runs": [run.model_dump(mode="json") for run in self.runs],
        }

    @property
    def digest(self) -> str:
        """The plan's identity."""
        return digest_of("leonids/plan/1", self.to_json())


def scale_of(study: StudySpec, choices: Choices) -> tuple[str, ScaleSpec]:
    """Return the scale to run at: the one named; else the one whose base was named; else the study's first."""
    if choices.scale is not None:
        if choices.scale not in study.scales:
            raise UsageError(
                f"study {study.study!r} has no scale {choices.scale!r}", rule=f"it has {', '.join(study.scales)}"
            )
        return choices.scale, study.scales[choices.scale]
    for name, scale in study.scales.items():
        if scale.base == choices.base:
            return name, scale
    first = next(iter(study.scales))
    return first, study.scales[first]


def check_choices(study: StudySpec, choices: Choices) -> None:
    """Raise ``UsageError`` for arms or steps that a study cannot have."""
    if choices.arms == ():
        raise UsageError("--arms names none", rule=f"study {study.study!r} has {', '.join(study.arms)}")
    for arm in choices.arms or ():
        if arm not in study.arms:
            raise UsageError(f"study {study.study!r} has no arm {arm!r}", rule=f"its arms are {', '.join(study.arms)}")
        source = study.arms[arm].start_from
        if source is not None and source not in (choices.arms or ()):
            raise UsageError(
                f"arm {arm!r} starts from {source!r}, which --arms leaves out",
                rule="an arm is trained after the one it starts from",
                way_out=f"name both: --arms {source},{arm}",
            )
    if choices.steps is not None and choices.steps < 1:
        raise UsageError(f"--steps is {choices.steps}", rule="a run has one step or more")


def make_plan(study: StudySpec, choices: Choices, *, beside: Path | None = None) -> Plan:
    """Return the plan of a study under the choices made. Raises ``UsageError`` and ``SpecError``.

    ``beside`` is the folder that universes given as files are relative to.
    """
    check_choices(study, choices)
    name, scale = scale_of(study, choices)
    arms = [arm for arm in study.arms if choices.arms is None or arm in choices.arms]
    steps = choices.steps or scale.steps
    names = dict.fromkeys(study.arms[arm].universe for arm in arms)
    universes = {name: None if name == FOREIGN else load_universe(name, beside=beside) for name in names}
    runs = tuple(
        _run(study, arm, seed, scale=scale, base=choices.base or scale.base, steps=steps, universes=universes)
        for arm in arms
        for seed in study.arms[arm].seeds or study.seeds
    )
    study = with_bands(study, runs)
    return Plan(study, name, runs, study.predictions)


def review_steps(reviews: Sequence[float], steps: int) -> tuple[int, ...]:
    """Return the steps of the reviews: step 0 first, the base itself, then each after one step at least."""
    return (0, *dict.fromkeys(max(1, step_at(review, planned_steps=steps)) for review in reviews))


def transfer_of(study: StudySpec, universe: UniverseSpec | None) -> tuple[str, ...]:
    """Return the transfer splits that are named or predicted and that an arm's universe has; lint names the others."""
    spoken = [p.measure.split for p in study.predictions if p.measure.split.startswith("transfer:")]
    check_names(study.transfer)
    if universe is None:
        return ()
    found = []
    for split in dict.fromkeys((*study.transfer, *spoken)):
        with suppress(SpecError):
            check_transfer(universe, [split])
            found.append(split)
    return tuple(found)


def _run(
    study: StudySpec,
    arm: str,
    seed: int,
    *,
    scale: ScaleSpec,
    base: str,
    steps: int,
    universes: Mapping[str, UniverseSpec | None],
) -> RunSpec:
    spec: ArmSpec = study.arms[arm]
    return RunSpec(
        run=f"{arm}.s{seed}",
        arm=arm,
        universe=universes[spec.universe],
        base=base,
        start_from=f"{spec.start_from}.s{seed}" if spec.start_from else "",
        adapter=AdapterSpec(
            method=spec.method,
            rank=spec.rank,
            alpha=spec.alpha,
            alpha_rule=spec.alpha_rule,
            targets=spec.targets,
            dropout=spec.dropout,
        ),
        loss_on=spec.loss_on,
        transfer=transfer_of(study, universes[spec.universe]),
        answers=spec.answers,
        steps=steps,
        batch_size=scale.batch_size,
        lr=scale.lr * spec.lr_factor,
        schedule=spec.schedule or scale.schedule,
        warmup_steps=min(scale.warmup_steps if spec.warmup_steps is None else spec.warmup_steps, steps),
        weight_decay=scale.weight_decay,
        clip_norm=scale.clip_norm,
        data_seed=seed,
        init_seed=seed,
        reviews=review_steps(study.reviews, steps),
        review_examples=scale.review_examples,
        test_examples=scale.test_examples,
        checkpoint_every=scale.checkpoint_every,
        dtype=scale.dtype,
    )
