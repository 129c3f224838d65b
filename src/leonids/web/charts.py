"""Every chart of the page, drawn from the findings and the training streams by what was asked for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from leonids.claims.metrics import metric_named
from leonids.claims.predicates import predicate_of
from leonids.claims.prediction import Prediction
from leonids.errors import UsageError
from leonids.records import ROLES
from leonids.report.anatomy import Anatomy, mean_shares
from leonids.report.claimed import COLOURS, word_of
from leonids.report.curves import (
    ON_THE_AXIS,
    Curve,
    at_reviews,
    claimed_curve,
    combined,
    explanations_of,
    frame_top,
    runs_claimed,
    splits_claimed,
)
from leonids.report.explain import Explanation, answer_excess
from leonids.report.findings import Findings
from leonids.report.numbers import Known, Missing, Value
from leonids.report.palette import ARM_STYLES, PART_COLOURS, style_of
from leonids.report.phases import PHASES, plateaus_of
from leonids.spec import RunSpec
from leonids.web.chart import Box, Chart, Line, Stack, of_seeds, smoothed
from leonids.web.series import AXES, SKETCH_POINTS, Trained
from leonids.web.shelf import Shelf

DASHES: Mapping[str, str] = {"-": "", "--": "7 4", "-.": "8 3 2 3", ":": "2 3"}
TRAINED = ("loss", "excess", "floor", "match", "token_accuracy", "confidence", "gold_confidence", "confidence_right",
           "confidence_wrong", "overconfidence", "brier")  # fmt: skip
TOKENS = ("trained", "answer", "all", *ROLES)
SMOOTHINGS = (0, 10, 100, 1000)
SEEDS = (("each", "each on its own"), ("mean", "mean and range"))
MOST_RUNS = 12
"""Above this many runs a chart shows the mean of an arm's seeds, unless each is asked for."""

HELD_OUT: Mapping[str, tuple[str, Callable[[Explanation], Known], float]] = {
    "excess": ("excess of the answer, nats/token", answer_excess, 1.0),
    "match": ("match, %", lambda found: found.match, 100.0),
    "confidence": ("confidence on right tokens", lambda found: found.confidence_right, 1.0),
}


@final
@dataclass(frozen=True, slots=True)
class Asked:
    """What a chart is asked for. ``at`` is the place of an arm, or of a prediction, in the order of the study.

    Raises ``UsageError`` for a value that is not on offer.
    """

    at: int = 0
    metric: str = "loss"
    tokens: str = "trained"
    axis: str = "step"
    smooth: int = 0
    seeds: str = ""
    measure: str = "excess"
    full: bool = False

    def __post_init__(self) -> None:
        """Refuse what is not on offer."""
        offers: tuple[tuple[str, object, tuple[object, ...]], ...] = (
            ("metric", self.metric, TRAINED),
            ("tokens", self.tokens, TOKENS),
            ("axis", self.axis, tuple(name for name, _ in AXES)),
            ("smooth", self.smooth, SMOOTHINGS),
            ("seeds", self.seeds, ("", *(name for name, _ in SEEDS))),
            ("measure", self.measure, tuple(HELD_OUT)),
        )
        for name, value, offered in offers:
            if value not in offered:
                raise UsageError(f"{name} is {str(value)[:40]!r}", rule=f"one of {', '.join(map(str, offered))}")


def arm_names(findings: Findings) -> tuple[str, ...]:
    """Return the arms in the order of the study."""
    return tuple(dict.fromkeys(run.arm for run in findings.folder.runs))


def chosen_arm(findings: Findings, asked: Asked) -> str:
    """Return the arm that is asked for. Raises ``UsageError`` where there is none at that place."""
    arms = arm_names(findings)
    if not 0 <= asked.at < len(arms):
        raise UsageError(f"arm {asked.at}", rule=f"this study has {len(arms)}, counted from 0")
    return arms[asked.at]


def chosen_prediction(findings: Findings, asked: Asked) -> Prediction:
    """Return the prediction that is asked for. Raises ``UsageError`` where there is none at that place."""
    if not 0 <= asked.at < len(findings.predictions):
        raise UsageError(f"prediction {asked.at}", rule=f"this study has {len(findings.predictions)}, counted from 0")
    return findings.predictions[asked.at]


def _look(findings: Findings, arm: str) -> tuple[str, str]:
    colour, _, dash = style_of(arm_names(findings), arm)
    # Black is not seen on a dark page.
    return ("#888888" if colour == "#000000" else colour), DASHES[dash]


def _trained(shelf: Shelf, findings: Findings, run: RunSpec, asked: Asked, *, wait: bool) -> Trained:
    row = metric_named(asked.metric)
    whole = row is not None and row.whole_answer
    tokens = run.loss_on if asked.tokens == "trained" else asked.tokens
    head: dict[str, float] = {role: findings.folder.head_nats(run.arm, role) for role in ROLES}
    return shelf.series.trained(
        run.run, metric=asked.metric, tokens="example" if whole else tokens, axis=asked.axis, head=head, wait=wait
    )


def train(shelf: Shelf, findings: Findings, asked: Asked) -> Chart:
    """Draw a metric at every training step of every run: as recorded, and smoothed besides where that is asked for."""
    row = metric_named(asked.metric)
    unit = "" if row is None else row.unit
    curves = [(run, _trained(shelf, findings, run, asked, wait=asked.full)) for run in findings.folder.runs]
    partial = any(curve.partial for _, curve in curves)
    raw = [
        Line(run.run, curve.x, curve.y, *_look(findings, run.arm), group=run.arm)
        for run, curve in curves
        if curve.x.size
    ]
    means = not partial and by_mean(findings, asked)
    smooth = 0 if partial else asked.smooth
    lines = []
    for one in _of_arms(raw) if means else raw:
        lines += [replace(one, faint=True), smoothed(one, steps=smooth)] if smooth else [one]
    named = "the tokens in each arm's loss" if asked.tokens == "trained" else f"{asked.tokens} tokens"
    of = "" if row is not None and row.whole_answer else f" over {named}"
    caption = f"{asked.metric.replace('_', ' ')}{of}: the training batch of each step, as recorded."
    if means:
        caption += " Lines are means of an arm's seeds, bands reach from the least seed to the greatest."
    if smooth:
        caption += f" Bold: the mean of the past with weights that fall by 1/e in {smooth} steps; faint: raw."
    title = f"Training: {asked.metric.replace('_', ' ')}"
    said = _unread(caption) if partial else caption if lines else "No step yet."
    return Chart(title, dict(AXES)[asked.axis], unit, tuple(lines), caption=said, partial=partial)


def by_mean(findings: Findings, asked: Asked) -> bool:
    """Whether training is drawn as the mean of an arm's seeds: they have their steps alone in common, so over those."""
    chosen = asked.seeds or ("mean" if len(findings.folder.runs) > MOST_RUNS else "each")
    return chosen == "mean" and asked.axis in ("step", "progress")


def _of_arms(lines: Sequence[Line]) -> list[Line]:
    arms = {arm: [line for line in lines if line.group == arm] for arm in dict.fromkeys(line.group for line in lines)}
    return [of_seeds(f"{arm}, {len(seeds)} seed{'s' * (len(seeds) > 1)}", seeds) for arm, seeds in arms.items()]


def _unread(caption: str) -> str:
    return f"{caption} The streams are being read; until they are, at most {SKETCH_POINTS} evenly spaced points a run."


def held_out(shelf: Shelf, findings: Findings, asked: Asked) -> Chart:
    """Draw all arms together at the reviews: the mean of the seeds, and their range as a band."""
    label, pick, scale = HELD_OUT[asked.measure]
    lines = []
    for arm in arm_names(findings):
        rows = []
        for at in findings.checkpoints:
            values = [pick(found) for found in at.explanations if found.arm == arm]
            known = [scale * value.estimate for value in values if isinstance(value, Value)]
            if known:
                rows.append((100 * at.progress, float(np.mean(known)), min(known), max(known)))
        if rows:
            x, y, low, high = (np.array(column) for column in zip(*rows, strict=True))
            lines.append(Line(arm, x, y, *_look(findings, arm), low=low, high=high, dots=True))
    caption = "Held-out examples at each review: mean of the seeds; the band is their range, not an interval."
    frame = _cut_first(lines)
    if frame is not None:
        caption += " The base before training is far above all else, and is cut off."
    return Chart(f"Held out: {label}", "progress, %", label, tuple(lines), caption=caption, frame=frame)


def _cut_first(lines: Sequence[Line]) -> tuple[float, float] | None:
    """Return a frame that leaves out the base before training where it is far above all else; None where it is not."""
    ys = [line.y for line in lines if len(line.y) > 1]
    tops = [float(np.max(np.concatenate(part))) for part in ([y[:1] for y in ys], [y[1:] for y in ys]) if part]
    if not tops or frame_top(tops) >= max(tops):
        return None
    return min(0.0, *(float(np.min(y)) for y in ys)), 1.1 * frame_top(tops)


def anatomy(shelf: Shelf, findings: Findings, asked: Asked) -> Chart:
    """Draw one arm's loss at its reviews, stacked as floors and excess by role: the mean of its seeds."""
    arm = chosen_arm(findings, asked)
    scope = findings.folder.runs_of(arm)[0].loss_on
    stacks = []
    for at in findings.checkpoints:
        parts = [found.all if scope == "all" else found.answer for found in at.explanations if found.arm == arm]
        shares = mean_shares([part for part in parts if isinstance(part, Anatomy) and part.parts])
        if shares:
            named = tuple((f"excess: {n}" if n in ROLES else n, v, PART_COLOURS[n]) for n, v in shares.items())
            stacks.append(Stack(100 * at.progress, named))
    caption = f"Loss over {scope} tokens on held-out examples at each review, mean of the seeds, in shares that add up."
    levels = tuple((name, nats) for nats, name in plateaus_of(findings.folder.floors.get(arm), scope))
    tops = [sum(value for _, value, _ in stack.parts if value > 0) for stack in stacks]
    top = frame_top(tops, [nats for _, nats in levels])
    low = min((sum(value for _, value, _ in stack.parts if value < 0) for stack in stacks), default=0.0)
    if tops and tops[0] > top:
        caption += " A bar that is cut has its height written on it."
    if levels:
        known = ", ".join(f"{name} ({nats:.3f})" for name, nats in levels)
        caption += f" Dotted: plateaus of a learner that knows only {known}; they were computed before training."
    return Chart(
        f"Loss over its floor: {arm}", "progress, %", "nats/token", levels=levels, stacks=tuple(stacks),
        caption=caption, frame=(1.05 * low, 1.15 * top) if top > 0 else None,
    )  # fmt: skip


def _seeds(findings: Findings, arm: str, pick: Callable[[Explanation], Known], *, label: str, scale: float = 1.0,
           look: int = 0) -> list[Line]:  # fmt: skip
    lines = []
    for run in findings.folder.runs_of(arm):
        found = explanations_of(findings.checkpoints, run.run)
        curve = at_reviews([(at, pick(one)) for at, one in found])
        if curve.x.size:
            low, high = (None if ends is None else scale * ends for ends in (curve.low, curve.high))
            colour, _, dash = ARM_STYLES[look]
            name = f"{label}, seed {run.data_seed}"
            lines.append(Line(name, curve.x, scale * curve.y, colour, DASHES[dash], low, high, dots=True, group=label))
    return lines


def match(shelf: Shelf, findings: Findings, asked: Asked) -> Chart:
    """Draw one arm's match at its reviews with exact intervals, and the best that is possible."""
    arm = chosen_arm(findings, asked)
    ceiling = next((one.ceiling for one in findings.explanations if one.arm == arm), Missing(""))
    levels = (("best possible", 100 * ceiling.estimate),) if isinstance(ceiling, Value) else ()
    lines = tuple(_seeds(findings, arm, lambda found: found.match, label="match", scale=100.0))
    caption = "Whole answers right on held-out examples at each review; bands are exact 95 % intervals over examples."
    return Chart(f"Match: {arm}", "progress, %", "match, %", lines, (), levels, caption=caption, frame=(-2.0, 104.0))


def confidence(shelf: Shelf, findings: Findings, asked: Asked) -> Chart:
    """Draw one arm's confidence on right and on wrong tokens at its reviews, over the borders of the phases."""
    arm = chosen_arm(findings, asked)
    right = _seeds(findings, arm, lambda found: found.confidence_right, label="on right tokens")
    wrong = _seeds(findings, arm, lambda found: found.confidence_wrong, label="on wrong tokens", look=1)
    tokens = next((one.confident_tokens for one in findings.explanations if one.arm == arm), "answer")
    caption = f"Mean confidence on {tokens} tokens, held-out examples at each review; bands: 95 % over examples."
    levels = tuple((f"{name} from here", border) for border, name in PHASES)
    return Chart(
        f"Confidence: {arm}", "progress, %", "confidence", (*right, *wrong), (), levels, caption=caption,
        frame=(0.0, 1.04),
    )  # fmt: skip


def reliability(shelf: Shelf, findings: Findings, asked: Asked) -> Chart:
    """Draw how often what one arm says with a probability is right, at its last review, over its value by chance."""
    arm = chosen_arm(findings, asked)
    lines: list[Line] = []
    said = []
    for one in findings.explanations:
        if one.arm != arm:
            continue
        found, seed = one.reliability, next(run.data_seed for run in findings.folder.runs if run.run == one.run)
        if isinstance(found, Missing):
            said.append(f"Seed {seed}: {found.reason}.")
            continue
        rows = [(part.confidence, part.right.estimate, part.right.low, part.right.high) for part in found.bins]
        x, y, low, high = np.array(rows, dtype=np.float64).T
        colour, _, dash = ARM_STYLES[len(lines) % len(ARM_STYLES)]
        lines.append(Line(f"seed {seed}", x, y, colour, DASHES[dash], low, high, dots=True))
        error = found.error
        said.append(
            f"Seed {seed}: smooth calibration error {error.value:.3f}, by chance alone {error.null:.3f}, "
            f"by {found.of} of {found.n} answers."
        )
    if lines:
        ends = np.array([0.0, 1.0])
        lines.append(Line("honest", ends, ends, "#888888", "2 3"))
    caption = "Answers by tenths of confidence at the last review; bands: exact 95 % intervals of each point. "
    return Chart(
        f"Honesty of confidence: {arm}", "confidence", "share that is right", tuple(lines),
        caption=caption + " ".join(said), frame=(0.0, 1.04),
    )  # fmt: skip


def _claimed_curve(
    shelf: Shelf, findings: Findings, claim: Prediction, run: RunSpec, *, split: str, wait: bool
) -> Trained | None:
    measure = claim.measure
    if split != "train":
        name = ("claimed", claim.id, run.run, split)
        curve = shelf.kept(name, lambda: claimed_curve(findings.folder, claim, run, split=split))
        return None if curve is None else Trained(curve.x, curve.y)
    asked = Asked(
        metric=measure.metric, tokens=measure.tokens if measure.tokens in TOKENS else "answer", axis="progress"
    )
    if measure.versus is None:
        return _trained(shelf, findings, run, asked, wait=wait)
    other = next((o for o in findings.folder.runs_of(measure.versus) if o.data_seed == run.data_seed), None)
    if other is None:
        return None
    pair = (_trained(shelf, findings, one, asked, wait=True) for one in (run, other))
    both = combined(claim, *(Curve(found.x, found.y) for found in pair))
    return Trained(both.x, both.y)


def prediction(shelf: Shelf, findings: Findings, asked: Asked) -> Chart:
    """Draw a prediction on its curve: what was claimed as a box, the measure as recorded, what was judged as a mark."""
    claim = chosen_prediction(findings, asked)
    measure, verdict = claim.measure, findings.verdicts.get(claim.id)
    scale = 100.0 if measure.kind.unit.startswith("share") and claim.expect.ratio is None else 1.0
    lines, partial = [], False
    for run in runs_claimed(findings.folder, claim):
        for look, split in enumerate(splits_claimed(claim)):
            curve = _claimed_curve(shelf, findings, claim, run, split=split, wait=asked.full)
            partial = partial or (curve is not None and curve.partial)
            # Predictions speak of training: the base's value before it would only squeeze the frame.
            trained = curve is not None and curve.x > 0
            if curve is not None and np.any(trained):
                colour, _, dash = ARM_STYLES[(2 * run.data_seed + look) % 6]
                line = Line(f"{run.run}, {split}", curve.x[trained], scale * curve.y[trained], colour, DASHES[dash])
                lines.append(replace(line, dots=split != "train"))
    on_axis = claim.expect.predicate in ON_THE_AXIS
    if verdict is not None and verdict.estimate is not None and on_axis:
        ends = [verdict.estimate if end is None else end for end in (verdict.low, verdict.high)]
        at, mark = np.array([100 * measure.due]), COLOURS[verdict.word][1]
        low, high = (np.array([scale * end]) for end in ends)
        judged = Line(f"judged: {word_of(verdict)}", at, at * 0 + scale * verdict.estimate, mark, "", low, high)
        lines.append(replace(judged, dots=True))
    unit = "%" if scale == 100.0 else measure.kind.unit
    name = f"{measure.metric.replace('_', ' ')}, {unit}" if claim.expect.ratio is None else "ratio of the arms"
    caption = "The box is what was claimed, where it falls due. Nothing is smoothed."
    return Chart(
        f"Prediction {claim.id}", "progress, %", name, tuple(lines), _boxes(claim, scale),
        caption=_unread(caption) if partial else caption, partial=partial,
    )  # fmt: skip


def _boxes(claim: Prediction, scale: float) -> tuple[Box, ...]:
    start, end = (100 * at for at in claim.measure.period)
    if start == end:
        start, end = start - 2.0, end + 2.0
    if claim.expect.predicate not in ON_THE_AXIS:
        return (Box("window of the claim", (start, end), (-np.inf, np.inf)),)
    pieces = predicate_of(claim).region(claim).pieces
    bounds = (-np.inf, np.inf) if claim.measure.versus else (claim.measure.kind.low, claim.measure.kind.high)
    return tuple(
        Box("claimed", (start, end), (scale * max(low, bounds[0]), scale * min(high, bounds[1])))
        for low, high in pieces
    )


CHARTS: tuple[tuple[str, Callable[[Shelf, Findings, Asked], Chart]], ...] = (
    ("train", train),
    ("held-out", held_out),
    ("anatomy", anatomy),
    ("match", match),
    ("confidence", confidence),
    ("reliability", reliability),
    ("prediction", prediction),
)
"""One row a kind of chart: the name in its address, and what draws it."""


def chart_named(name: str) -> Callable[[Shelf, Findings, Asked], Chart]:
    """Return what draws a chart. Raises ``UsageError`` for a name that is none."""
    for known, draw in CHARTS:
        if known == name:
            return draw
    raise UsageError(f"no chart {name[:40]!r}", rule=f"one of {', '.join(known for known, _ in CHARTS)}")
