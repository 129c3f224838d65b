"""The figures of the report. Each is drawn from the folder alone and says what its bands and bars are."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from matplotlib.patches import Patch

from leonids.claims.measure import Measure
from leonids.claims.predicates import predicate_of
from leonids.claims.prediction import Prediction
from leonids.claims.regions import Region
from leonids.records import ROLES
from leonids.report.anatomy import Anatomy, mean_shares
from leonids.report.canvas import CLEAR, Axes, drawn, legend, sheet, styled, svg
from leonids.report.curves import Curve, at_reviews, explanations_of, frame_top, series, thinned
from leonids.report.explain import Explanation, answer_excess, answer_loss
from leonids.report.findings import Findings
from leonids.report.numbers import Known, Value
from leonids.report.palette import CORRIDOR, HATCHES, PART_COLOURS, style_of
from leonids.report.phases import PHASES, plateaus_of

NAME_FRAC, LADDER, LABELLED = 0.06, "#0072B2", 25.0
"""The height of a plateau's name as a share of its panel's, its colour, and the progress from which it stands."""


@final
@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure: its file's name, what it shows for one who cannot see it, its caption, its SVG."""

    name: str
    alt: str
    caption: str
    svg: bytes


def arm_style(findings: Findings, arm: str) -> tuple[str, str, str]:
    """Return an arm's colour, marker and dash: the same in every figure."""
    arms = list(dict.fromkeys(run.arm for run in findings.folder.runs))
    return style_of(arms, arm)


def arm_panels(
    findings: Findings, panel: Callable[[Findings, Axes, str], None], *, share_y: bool, extra: Sequence[object] = ()
) -> bytes:
    """Return a sheet with one panel an arm."""
    arms = list(dict.fromkeys(run.arm for run in findings.folder.runs))
    with styled():
        figure, axes = sheet(len(arms), share_y=share_y)
        for axis, arm in zip(axes, arms, strict=True):
            axis.set_title(arm)
            panel(findings, axis, arm)
        legend(figure, [*extra, *drawn(axes)])
        return svg(figure)


def loss_over_floor(findings: Findings) -> Drawing:
    """Draw each arm's loss at its reviews, stacked by what it is made of, with the raw training loss over it."""
    return Drawing(
        "loss-over-floor",
        "For each arm, bars at every review: the loss over the tokens in its loss, stacked as data floor, head floor "
        "and excess by role, with the raw training loss as thin lines and the plateaus of a learner that knows only "
        "the format, the type of question, the pipeline. A bar that is cut carries its height.",
        "Loss over its floor, nats/token over the tokens in the arm's loss. Bars: held-out examples at each review, "
        "mean of the seeds, stacked as floors and excess by role. Thin lines: the training loss of every step and "
        "seed, not smoothed. What is above the frame is cut off; a bar that is cut has its height written on it. "
        "Dotted: the plateaus of a learner that knows only what the line says, computed before training.",
        arm_panels(findings, _loss_panel, share_y=False),
    )


def _loss_panel(findings: Findings, axis: Axes, arm: str) -> None:
    runs = findings.folder.runs_of(arm)
    scope = runs[0].loss_on
    axis.set_ylabel("loss, nats/token")
    bars = {}
    for at in findings.checkpoints:
        parts = [found.all if scope == "all" else found.answer for found in at.explanations if found.arm == arm]
        shares = mean_shares([part for part in parts if isinstance(part, Anatomy) and part.parts])
        if shares:
            bars[100 * at.progress] = shares
    tops = _stack(axis, bars)
    lines = plateaus_of(findings.folder.floors.get(arm), scope)
    reach = frame_top([*tops.values()], [height for height, _ in lines])
    later = [top for place, top in tops.items() if place > LABELLED]
    measure = Measure(metric="loss", arm=arm, tokens=scope, split="train", final=True)
    for run in runs:
        curve = series(findings.folder, run, measure, split="train")
        if curve is not None:
            shown, thin = thinned(curve)
            label = "training loss, raw" + (" (least and greatest of stretches)" if thin else "")
            axis.plot(shown.x, shown.y, color="#000000", linewidth=0.5, alpha=0.7, label=label, zorder=1)
            reach = reach or float(np.quantile(curve.y, 0.9))
            later += curve.y[curve.x > LABELLED].tolist()
    frame = 1.15 * reach if reach > 0 else 1.0
    axis.set_ylim(min(0.0, axis.get_ylim()[0]) if bars else 0.0, frame)
    _ladder(axis, lines, frame=frame, busy=max(later, default=0.0))
    for place, top in tops.items():
        if top > frame:
            _cut(axis, place, top)


def _cut(axis: Axes, at: float, top: float) -> None:
    """Mark a bar as going on above the frame, and write how high it reaches."""
    across = axis.get_xaxis_transform()
    axis.plot([at - 4.5, at + 4.5], [0.83, 0.87], transform=across, color="#FFFFFF", linewidth=3.0, zorder=5)
    axis.text(
        at, 0.985, f"{top:.2f}", transform=across, ha="center", va="top", fontsize=6, zorder=6,
        bbox={"facecolor": "#FFFFFF", "edgecolor": "#333333", "linewidth": 0.4, "pad": 1.0},
    )  # fmt: skip


def _ladder(axis: Axes, lines: Sequence[tuple[float, str]], *, frame: float, busy: float) -> None:
    """Draw plateaus with their names on them; lines closer than a name is high share one.

    A name that would lie below ``busy``, where curves and bars are, stands above them.
    """
    groups: list[list[tuple[float, str]]] = []
    for line in lines:
        near = groups and (groups[-1][-1][0] - line[0] < NAME_FRAC * frame or groups[-1][0][0] <= busy)
        groups = [*groups[:-1], [*groups[-1], line]] if near else [*groups, [line]]
    for group in groups:
        for height, _ in group:
            axis.axhline(height, color=LADDER, linestyle=":", linewidth=0.9, zorder=4)
        place = max(group[0][0], min(busy, (1 - NAME_FRAC) * frame))
        axis.text(
            105.0, place, "knows only " + ", ".join(name for _, name in group), color=LADDER, fontsize=6,
            ha="right", va="bottom", zorder=6, bbox=CLEAR,
        )  # fmt: skip


def _stack(axis: Axes, bars: Mapping[float, Mapping[str, float]]) -> dict[float, float]:
    """Stack bars at each progress, what is negative below zero; return how high each reaches, by its place."""
    places = sorted(bars)
    width = 0.6 * min((b - a for a, b in itertools.pairwise(places)), default=10.0)
    width = min(6.0, width)
    top, bottom = dict.fromkeys(places, 0.0), dict.fromkeys(places, 0.0)
    for name in dict.fromkeys(name for shares in bars.values() for name in shares):
        for at in places:
            share = bars[at].get(name, 0.0)
            side = top if share >= 0 else bottom
            label = f"excess: {name}" if name in ROLES else name
            axis.bar(
                at, share, width, bottom=side[at], color=PART_COLOURS[name], hatch=HATCHES.get(name),
                edgecolor="#333333", linewidth=0.4, label=label, zorder=3,
            )  # fmt: skip
            side[at] += share
    return top


def match(findings: Findings) -> Drawing:
    """Draw each run's match at its reviews with exact intervals, the ceiling, and what was predicted."""
    return Drawing(
        "match",
        "For each arm, the share of whole answers right at every review, one line a seed with its exact 95 % interval "
        "as a band, the best possible match as a dashed line, and predictions as boxes.",
        "Match on held-out examples at each review, one line a seed; bands are exact 95 % intervals over examples. "
        "Dashed: the best expected match under the universe. Boxes: what was predicted, where it falls due.",
        arm_panels(findings, _match_panel, share_y=True, extra=[corridor_handle()]),
    )


def corridor_handle() -> Patch:
    """Return the legend's entry for what was predicted."""
    return Patch(facecolor=CORRIDOR, edgecolor="#B8860B", linewidth=0.6, label="predicted")


def _match_panel(findings: Findings, axis: Axes, arm: str) -> None:
    axis.set_ylabel("match, %")
    axis.set_ylim(-2.0, 104.0)
    for prediction in findings.predictions:
        measure = prediction.measure
        alone = measure.versus is None and prediction.expect.predicate in ("between", "above", "below")
        if measure.metric == "match" and measure.arm == arm and alone:
            corridor(axis, prediction, scale=100.0, label="predicted")
    runs = findings.folder.runs_of(arm)
    for seed, run in enumerate(runs):
        found = explanations_of(findings.checkpoints, run.run)
        curve = at_reviews([(at, one.match) for at, one in found])
        _banded(axis, curve, seed, label="match, one line a seed", scale=100.0)
    ceiling = next((one.ceiling for one in findings.explanations if one.arm == arm), None)
    if isinstance(ceiling, Value):
        axis.axhline(100 * ceiling.estimate, color="#333333", linestyle="--", linewidth=0.9, label="best possible")


def _banded(
    axis: Axes, curve: Curve, seed: int, *, label: str, scale: float = 1.0, look: tuple[str, str] = ("#0072B2", "-")
) -> None:
    colour, dash = look
    marker = ("o", "s", "^", "D", "v", "P", "X")[seed % 7]
    axis.plot(curve.x, scale * curve.y, color=colour, linestyle=dash, marker=marker, linewidth=1.2, label=label)
    if curve.low is not None and curve.high is not None:
        axis.fill_between(curve.x, scale * curve.low, scale * curve.high, color=colour, alpha=0.15, linewidth=0)


def corridor(axis: Axes, prediction: Prediction, *, scale: float = 1.0, label: str = "") -> None:
    """Draw the claimed region as boxes over the claim's window; what has no end runs to the frame's."""
    region: Region = predicate_of(prediction).region(prediction)
    start, end = (100 * at for at in prediction.measure.period)
    if start == end:
        start, end = start - 2.0, end + 2.0
    kind = prediction.measure.kind
    low, high = axis.get_ylim()
    if prediction.measure.versus is None:
        low, high = max(low, scale * kind.low), min(high, scale * kind.high)
    for piece in region.pieces:
        bottom, top = max(low, scale * piece[0]), min(high, scale * piece[1])
        if bottom < top:
            axis.fill_between(
                [start, end], bottom, top, facecolor=CORRIDOR, edgecolor="#B8860B", linewidth=0.6, zorder=1.5,
                label=label or "_corridor",
            )  # fmt: skip


def confidence(findings: Findings) -> Drawing:
    """Draw the confidence on right and on wrong tokens at the reviews, over the borders of the phases."""
    return Drawing(
        "confidence",
        "For each arm, the mean confidence on right tokens and on wrong tokens at every review, one line a seed, with "
        "the borders of the three phases at 0.51, 0.70 and 0.90.",
        "Confidence on right and on wrong tokens (of those that have to be worked out, where roles are known), "
        "held-out examples at each review, one line a seed; bands are 95 % intervals over examples. Dotted: where the "
        "phases of the observation document begin, by the confidence on right tokens.",
        arm_panels(findings, _confidence_panel, share_y=True),
    )


def _confidence_panel(findings: Findings, axis: Axes, arm: str) -> None:
    axis.set_ylabel("confidence")
    axis.set_ylim(0.0, 1.02)
    for (border, name), (above, _) in zip(PHASES, (*PHASES[1:], (1.0, "")), strict=True):
        axis.axhline(border, color="#555555", linestyle=":", linewidth=0.8)
        # Beside the frame, in the middle of the phase: inside it would lie on the curves.
        axis.text(
            1.01, (border + above) / 2, name.replace(" ", "\n"), transform=axis.get_yaxis_transform(), va="center",
            fontsize=6, color="#444444",
        )  # fmt: skip
    for seed, run in enumerate(findings.folder.runs_of(arm)):
        found = explanations_of(findings.checkpoints, run.run)
        right = at_reviews([(at, one.confidence_right) for at, one in found])
        wrong = at_reviews([(at, one.confidence_wrong) for at, one in found])
        _banded(axis, right, seed, label="on right tokens")
        _banded(axis, wrong, seed, label="on wrong tokens", look=("#D55E00", "--"))


@final
@dataclass(frozen=True, slots=True)
class Pick:
    """A measure in the figure of the arms: its name there, where it comes from, and which claims are about it."""

    title: str
    value: Callable[[Explanation], Known]
    metric: str
    tokens: str
    scale: float = 1.0


PICKS: tuple[Pick, ...] = (
    Pick("loss of the answer, nats/token", answer_loss, "loss", "answer"),
    Pick("excess of the answer, nats/token", answer_excess, "excess", "answer"),
    Pick("match, %", lambda found: found.match, "match", "answer", 100.0),
    Pick("confidence on right tokens", lambda found: found.confidence_right, "confidence_right", "decided"),
)


def arms(findings: Findings) -> Drawing:
    """Draw all arms together: mean of the seeds with their range, and the margins of claims that arms coincide."""
    with styled():
        figure, axes = sheet(len(PICKS), share_y=False)
        for axis, pick in zip(axes, PICKS, strict=True):
            axis.set_title(pick.title)
            lines = {}
            for arm in dict.fromkeys(run.arm for run in findings.folder.runs):
                lines[arm] = _arm_line(findings, axis, arm, pick=pick)
            _margins(findings, axis, pick, lines=lines)
            tops = [max(line[at] for line in lines.values() if at in line) for at in _places(lines)]
            top = frame_top(tops)
            if tops and top < max(tops):
                axis.set_ylim(top=1.1 * top)
            axis.set_ylim(bottom=min(0.0, axis.get_ylim()[0]))
        legend(figure, drawn(axes))
        content = svg(figure)
    return Drawing(
        "arms",
        "All arms in one frame: loss and excess of the answer, match, and confidence on right tokens at every review; "
        "lines are means of the seeds, bands reach from the least seed to the greatest, and a hatched band is the "
        "margin within which another arm was predicted to stay.",
        "All arms on held-out examples: mean of the seeds; bands are the range of the seeds (not an interval). "
        "Hatched: the margin of a claim that two arms coincide, around the arm that the other is compared with, over "
        "the time of the claim. Where the base before training is far above all else, it is cut off.",
        content,
    )


def _places(lines: Mapping[str, Mapping[float, float]]) -> list[float]:
    return sorted({at for line in lines.values() for at in line})


def _margins(findings: Findings, axis: Axes, pick: Pick, *, lines: Mapping[str, Mapping[float, float]]) -> None:
    """Draw what a claim of coinciding arms allows, around the line of the arm that it compares with."""
    for prediction in findings.predictions:
        measure = prediction.measure
        about = measure.metric == pick.metric and (measure.kind.whole_answer or measure.tokens == pick.tokens)
        line = lines.get(measure.versus or "")
        if prediction.expect.predicate != "coincide" or not about or not line:
            continue
        start, end = (100 * at for at in measure.period)
        x = [at for at in line if start - 1e-9 <= at <= end + 1e-9]
        if not x:
            continue
        y, margin = np.array([line[at] for at in x]), pick.scale * prediction.expect.numbers[0]
        if len(x) == 1:
            x, y = [x[0] - 3.0, x[0] + 3.0], np.repeat(y, 2)
        axis.fill_between(
            x, y - margin, y + margin, facecolor="none", edgecolor="#B8860B", hatch="///", linewidth=0.8, zorder=1,
            label="margin of a claim that arms coincide",
        )  # fmt: skip


def _arm_line(findings: Findings, axis: Axes, arm: str, *, pick: Pick) -> dict[float, float]:
    """Draw an arm's line and return it, value by progress."""
    colour, marker, dash = arm_style(findings, arm)
    rows = []
    for at in findings.checkpoints:
        values = [pick.value(found) for found in at.explanations if found.arm == arm]
        known = [pick.scale * value.estimate for value in values if isinstance(value, Value)]
        if known:
            rows.append((100 * at.progress, float(np.mean(known)), min(known), max(known)))
    if rows:
        x, y, low, high = (np.array(column) for column in zip(*rows, strict=True))
        axis.plot(x, y, color=colour, marker=marker, linestyle=dash, linewidth=1.3, label=arm)
        axis.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
    return {row[0]: row[1] for row in rows}


def overview(findings: Findings) -> tuple[Drawing, ...]:
    """Return the figures of the arms, in the order of the report."""
    return (loss_over_floor(findings), match(findings), confidence(findings), arms(findings))
