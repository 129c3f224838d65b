"""What is wrong with predictions before anyone locks them: claims that cannot fail, cannot hold, or cannot be decided.

``refuse`` findings make a prediction worthless whatever the data say; ``warn`` findings leave it weaker than it
looks. Each finding has the fix beside it. What the records themselves refuse (no number, no policy for a side)
never comes here: see ``refused``.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Literal, TypeAlias, final

from leonids.claims.cards import best_power, needed_for, planned_units
from leonids.claims.evidence import step_at
from leonids.claims.measure import SPLITS, Measure
from leonids.claims.pairs import PAIR_CHECKS, plateau_conflicts
from leonids.claims.predicates import predicate_of
from leonids.claims.prediction import Hypothesis, Prediction, Question
from leonids.claims.regions import Region
from leonids.claims.setting import Setting
from leonids.digest import Json
from leonids.errors import LeonidsError
from leonids.universe.splits import GYM

Severity: TypeAlias = Literal["refuse", "warn"]


@final
@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found: where, by which check, what it is, and the fix."""

    place: str
    check: str
    severity: Severity
    says: str
    fix: str

    @property
    def refuses(self) -> bool:
        """Whether the prediction should not be locked as it stands."""
        return self.severity == "refuse"

    def to_json(self) -> dict[str, Json]:
        """Return the finding as JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.severity} {self.place} [{self.check}]: {self.says}; {self.fix}"


MIN_ROWS = 3
"""The least number of rows that a slope is drawn through."""

MEND = "write it as docs/verdicts.md says"

Found: TypeAlias = Iterator[tuple[Severity, str, str]]
Check: TypeAlias = Callable[[Prediction, Setting], Found]


def lint(
    hypotheses: Mapping[str, Hypothesis], setting: Setting, *, questions: Sequence[Question] = ()
) -> tuple[Finding, ...]:
    """Return everything found in a study: prediction by prediction, then between them, then its questions."""
    predictions = [p for hypothesis in hypotheses.values() for p in hypothesis.predictions]
    found = [
        Finding(prediction.id, name, severity, says, fix)
        for prediction in predictions
        for name, check in CHECKS
        for severity, says, fix in check(prediction, setting)
    ]
    for first, second in combinations(predictions, 2):
        for name, check_pair in PAIR_CHECKS:
            found += [Finding(f"{first.id}, {second.id}", name, *rest) for rest in check_pair(first, second)]
    found += [Finding(ids, "contradiction", "refuse", *rest) for ids, *rest in plateau_conflicts(predictions)]
    found += [Finding(p.id, "no contrast", "warn", *rest) for p in predictions for rest in _contrast(p, predictions)]
    found += [
        Finding(q.asks, "question", "warn", *rest) for q in questions for rest in _question(q, predictions, setting)
    ]
    return tuple(found)


def refused(place: str, error: LeonidsError) -> Finding:
    """Return a finding for a prediction that the records refuse: no number, no side policy, an unknown metric."""
    return Finding(
        place, "not a claim", "refuse", ": ".join(filter(None, (error.problem, error.rule))), error.way_out or MEND
    )


def single(prediction: Prediction) -> Region | None:
    """Return the claimed region where the claim is about a level of one arm, else None."""
    plain = prediction.measure.versus is None and prediction.expect.predicate in ("between", "above", "below")
    return predicate_of(prediction).region(prediction) if plain else None


def _seen(prediction: Prediction, setting: Setting) -> Found:
    due = prediction.measure.due
    for arm in prediction.arms:
        if arm in setting.arms and setting.arms[arm].seen_frac >= due:
            says = f"arm {arm} has passed {prediction.measure.when}: the outcome was there to be seen"
            yield "warn", says, "it is kept as a retrodiction; predict a later point or a new run"


def _bounds(prediction: Prediction, setting: Setting) -> Found:
    region = single(prediction)
    if region is None:
        return
    kind = prediction.measure.kind
    low, high, why = _possible(prediction.measure, setting)
    first, last = region.pieces[0][0], region.pieces[-1][1]
    if last < low or (last == low and not region.closed):
        yield "refuse", f"{kind.name} cannot be below {low:.4g} ({why})", "claim the excess over the floor instead"
    elif first > high or (first == high and not region.closed):
        yield "refuse", f"{kind.name} cannot be above {high:.4g} ({why})", "claim a number below the ceiling"
    elif _covers(region, low, high):
        yield (
            "refuse",
            f"{kind.name} always lies in {low:.4g}..{high:.4g} ({why}): this cannot fail",
            "claim less of it",
        )


def _covers(region: Region, low: float, high: float) -> bool:
    first, last = region.pieces[0][0], region.pieces[-1][1]
    inside_low = first <= low if region.closed or not math.isfinite(first) else first < low
    inside_high = last >= high if region.closed or not math.isfinite(last) else last > high
    return inside_low and inside_high


def _possible(measure: Measure, setting: Setting) -> tuple[float, float, str]:
    """Return the least and the greatest value there can be, and why. Floors and ceilings are of training's program."""
    kind, own = measure.kind, measure.split in SPLITS
    if own and kind.name == "loss" and (measure.arm, measure.tokens) in setting.floors:
        return setting.floors[measure.arm, measure.tokens], kind.high, f"the floor of {measure.tokens} tokens"
    if kind.name == "excess":
        return 0.0, kind.high, "no model beats the floor on fresh data"
    if own and (measure.arm, kind.name) in setting.ceilings:
        return kind.low, setting.ceilings[measure.arm, kind.name], "the ceiling of the universe"
    return kind.low, kind.high, "by definition"


def _easy(prediction: Prediction, setting: Setting) -> Found:
    """Find a loss that a learner reaches without reading any prompt, and a margin wider than all there is to learn."""
    measure = prediction.measure
    easy = setting.easy.get((measure.arm, measure.tokens))
    if measure.metric != "loss" or easy is None or measure.split not in SPLITS:
        return
    region = single(prediction)
    if region is not None and not math.isfinite(region.pieces[0][0]) and region.pieces[-1][1] >= easy:
        says = f"{easy:.3g} nats/token are reached by the answers' format alone, without reading a prompt"
        yield "warn", says, "claim less than that, or excess"
    margin = prediction.expect.coincide or prediction.expect.plateaus
    span = easy - setting.floors.get((measure.arm, measure.tokens), 0.0)
    if margin is not None and margin >= span:
        says = f"beyond the format there are {span:.3g} nats/token to learn: a margin of {margin:g} hides all of it"
        yield "warn", says, "claim a margin that a difference in learning can exceed"


def _guessed(prediction: Prediction, setting: Setting) -> Found:
    """Find a match that one constant answer reaches: the null of a claim that a model has learned anything."""
    region = single(prediction)
    share = setting.guess.get((prediction.measure.arm, prediction.measure.metric))
    ours = prediction.measure.split in SPLITS
    if ours and region is not None and share and region.pieces[0][0] < share and region.pieces[-1][1] >= 1.0:
        says = f"the commonest answer alone, said to every prompt, is right in {100 * share:.3g} % of cases"
        yield "warn", says, "claim more than that"


def _grid(prediction: Prediction, setting: Setting) -> Found:
    """Find a curve that is asked for at more points than the run logs."""
    measure, expect = prediction.measure, prediction.expect
    planned = [setting.arms[arm].steps for arm in prediction.arms if arm in setting.arms]
    if measure.over is None or not planned or not min(planned):
        return
    (start, end), train = measure.period, measure.split == "train"
    parts, least = [(start, end)], MIN_ROWS if train else 2
    if expect.falls_after is not None:
        parts = [(start, expect.falls_after.progress), (expect.falls_after.progress, end)]
    elif expect.coincide is not None and train:
        least = measure.points
    elif expect.plateaus is None:
        return
    for first, last in parts:
        steps = [step_at(point, planned_steps=min(planned)) for point in (first, last)]
        reviews = setting.reviews if measure.split == "validation" else setting.reviews[-1:]
        found = steps[1] - steps[0] if train else sum(first - 1e-9 <= one <= last + 1e-9 for one in reviews)
        if found < least:
            unit = "steps" if train else "reviews"
            says = f"{100 * first:g}%-{100 * last:g}% has {found} {unit}, and {least} points are asked for"
            yield "refuse", says, "ask for fewer points, or for a longer window"


def _kill(prediction: Prediction, setting: Setting) -> Found:
    ours = [arm for arm in prediction.arms if arm in setting.arms and not setting.arms[arm].foreign]
    if prediction.kill and ours:
        says = f"kill does not end what `leonids run` trains, such as arm {ours[0]}"
        yield "warn", says, "train it with LeonidsCallback, which a refuted kill ends, or leave kill out"


def _review(prediction: Prediction, setting: Setting) -> Found:
    measure = prediction.measure
    if measure.split == "train":
        return
    if measure.split not in setting.splits:
        says = f"no universe of this study has the split {measure.split}, so it will be void"
        yield "warn", says, f"measure one of {', '.join(setting.splits)}, or choose a universe with that family"
        return
    before = (0.0,) if measure.split.startswith("transfer:") else ()
    reviews = setting.reviews if measure.split == "validation" else (*before, setting.reviews[-1])
    start, end = measure.period
    if not any(start - 1e-9 <= review <= end + 1e-9 for review in reviews):
        shown = ", ".join(f"{100 * review:g}%" for review in reviews)
        yield "refuse", f"{measure.split} is never measured at {measure.when}", f"choose one of the reviews {shown}"


def _seeds(prediction: Prediction, setting: Setting) -> Found:
    planned = [set(setting.arms[arm].seeds) for arm in prediction.arms if arm in setting.arms]
    seed = prediction.measure.seed
    if not planned:
        return
    shared = {one for one in set.intersection(*planned) if seed is None or one == seed}
    if prediction.scope == "seeds" and len(shared) < 2:
        says = f"{len(shared)} seed is planned, and one run cannot speak for the recipe (scope: seeds, the default)"
        yield "refuse", says, "plan 3 seeds or more, or write scope: run to speak of this run alone"
    if prediction.scope == "run" and not shared:
        yield "refuse", f"no planned run has seed {seed}", f"choose one of {sorted(planned[0])}"
    if prediction.scope == "run" and seed is None and len(shared) > 1:
        first = next(s for s in setting.arms[prediction.arms[0]].seeds if s in shared)
        yield "warn", f"it speaks of one run, the one with seed {first}", "write that seed, or scope: seeds"


def _power(prediction: Prediction, setting: Setting) -> Found:
    power = best_power(prediction, setting)
    if power is None or power >= 0.5:
        return
    n, unit = planned_units(prediction, setting)
    needed = needed_for(prediction, setting)
    fix = f"plan {needed:,} {unit}" if needed else "claim a wider range"
    yield "warn", f"with {n} {unit} it is supported in {100 * power:.0f} % of cases even where it is true", fix


def _alpha_rule(prediction: Prediction, setting: Setting) -> Found:
    arms = [setting.arms[arm] for arm in prediction.arms if arm in setting.arms]
    fixed = any(arm.alpha_rule == "fixed" for arm in arms)
    if len({arm.rank for arm in arms if arm.rank}) > 1 and fixed and not _has_rival(prediction, "alpha"):
        says = "it compares ranks whose scale alpha / rank differs too"
        yield "warn", says, "set alpha_rule: equal or sqrt in these arms, or name the rival about: alpha"


def _schedule(prediction: Prediction, setting: Setting) -> Found:
    facts = setting.arms.get(prediction.measure.arm)
    if facts is None or prediction.expect.predicate != "falls_after" or facts.schedule == "constant":
        return
    if not any(rival.about == "schedule" and rival.arm for rival in prediction.rivals):
        says = f"the {facts.schedule} learning-rate schedule alone can make the loss drop"
        yield "warn", says, "add a constant-learning-rate arm and the rival {about: schedule, arm: ...}"


def _has_rival(prediction: Prediction, about: str) -> bool:
    return any(rival.about == about for rival in prediction.rivals)


def _rivals(prediction: Prediction, setting: Setting) -> Found:
    for rival in prediction.rivals:
        if rival.arm is None:
            yield "warn", f"its rival predicts the same ({rival.says})", "name the arm in which the two differ"
        elif rival.arm in setting.left_out:
            says = f"its rival's arm {rival.arm!r} is left out of this plan, so that nothing tells the two apart"
            yield "warn", says, "train that arm too"
        elif rival.arm not in setting.arms:
            yield "refuse", f"its rival's arm {rival.arm!r} is not in the study", "add it to the arms"


def _branches(prediction: Prediction, setting: Setting) -> Found:
    if not prediction.then.refuted:
        yield "warn", "nothing is written for the case that it is refuted", "add then: {refuted: ...}"


def _prompt(prediction: Prediction, setting: Setting) -> Found:
    measure, region = prediction.measure, single(prediction)
    floor = setting.floors.get((measure.arm, measure.tokens))
    if region is None or measure.metric != "loss" or measure.tokens not in ("all", "prompt") or floor is None:
        return
    if measure.split not in SPLITS:
        return
    largest = max((abs(number) for number in prediction.expect.numbers), default=0.0)
    if largest >= floor >= 0.5 * largest > 0:
        says = (
            f"{floor:.3g} of these {largest:.3g} nats are the floor of {measure.tokens} tokens, which nothing can learn"
        )
        yield "warn", says, "measure excess, or tokens: answer"


def _exact(prediction: Prediction, setting: Setting) -> Found:
    if prediction.measure.metric in ("floor", "head_floor"):
        yield "warn", f"{prediction.measure.metric} is computed, not observed", "predict the excess, which data decide"


def _no_floor(prediction: Prediction, setting: Setting) -> Found:
    metric = prediction.measure.metric
    if prediction.measure.split == GYM and metric in ("floor", "head_floor", "excess"):
        says = f"nobody knows the floor of {GYM}, so {metric} is not measured there"
        yield "refuse", says, "claim match, against an arm with answers: shuffled"


def _contrast(prediction: Prediction, others: Sequence[Prediction]) -> Iterator[tuple[str, str]]:
    if prediction.expect.predicate != "coincide":
        return
    expected_apart = ("differs", "above", "below", "ratio", "order")
    if not any(other.expect.predicate in expected_apart and len(other.arms) > 1 for other in others):
        says = "curves of any runs look alike early, and no arm is predicted to differ"
        yield says, "add a control arm, such as a disordered universe, and predict its difference"


def _question(question: Question, predictions: Sequence[Prediction], setting: Setting) -> Iterator[tuple[str, str]]:
    if "confirm" in question.yes.lower():
        says = "its yes would confirm, and an outcome that another explanation predicts as well confirms nothing"
        yield says, "write what it supports, and what else would have to hold"
    falls = [p for p in predictions if p.id in question.reads and p.expect.predicate == "falls_after"]
    schedules = [setting.arms[p.measure.arm].schedule for p in falls if p.measure.arm in setting.arms]
    if schedules and "constant" not in schedules:
        says = f"its yes rests on {falls[0].id}, which a learning-rate schedule alone predicts too"
        yield says, "let it read a prediction about a constant-learning-rate arm as well"


CHECKS: tuple[tuple[str, Check], ...] = (
    ("already seen", _seen),
    ("impossible or vacuous", _bounds),
    ("too easy", _easy),
    ("too easy", _guessed),
    ("grid", _grid),
    ("kill", _kill),
    ("never measured", _review),
    ("seeds", _seeds),
    ("power", _power),
    ("alpha rule", _alpha_rule),
    ("schedule", _schedule),
    ("rival", _rivals),
    ("no branch", _branches),
    ("prompt in the loss", _prompt),
    ("computed", _exact),
    ("no floor", _no_floor),
)
"""One row per check of a single prediction; checks between two are ``pairs.PAIR_CHECKS``."""
