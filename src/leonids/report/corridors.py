"""Predictions on their curves: what was claimed as a box, what was measured as a curve, the verdict as a mark."""

from leonids.claims.prediction import Prediction
from leonids.report.canvas import Axes, drawn, legend, sheet, styled, svg
from leonids.report.claimed import COLOURS, word_of
from leonids.report.curves import ON_THE_AXIS, Curve, claimed_curve, runs_claimed, splits_claimed, thinned
from leonids.report.figures import Drawing, corridor, corridor_handle
from leonids.report.findings import Findings
from leonids.spec import RunSpec

A_SHEET = 8
"""Panels a sheet: more would not be read in print."""


def predicted(findings: Findings) -> tuple[Drawing, ...]:
    """Return sheets with one panel a prediction."""
    listed = findings.predictions
    sheets = [listed[at : at + A_SHEET] for at in range(0, len(listed), A_SHEET)]
    return tuple(_sheet(findings, part, number) for number, part in enumerate(sheets, 1))


def _sheet(findings: Findings, predictions: tuple[Prediction, ...], number: int) -> Drawing:
    with styled():
        figure, axes = sheet(len(predictions), share_y=False)
        for axis, prediction in zip(axes, predictions, strict=True):
            _panel(findings, axis, prediction)
        legend(figure, [corridor_handle(), *drawn(axes)])
        content = svg(figure)
    names = ", ".join(f"{p.id} {word_of(findings.verdicts.get(p.id))}" for p in predictions)
    return Drawing(
        f"predictions-{number}",
        f"One panel a prediction: the measured curve, the predicted corridor, the judged interval. {names}.",
        "Predictions on their curves: the box is what was claimed, where it falls due; thin lines are the measure as "
        "recorded, one a seed; the mark with its bar is the estimate with the interval that decided.",
        content,
    )


def _panel(findings: Findings, axis: Axes, prediction: Prediction) -> None:
    measure, verdict = prediction.measure, findings.verdicts.get(prediction.id)
    axis.set_title(f"{prediction.id} {word_of(verdict)}")
    scale = 100.0 if measure.kind.unit.startswith("share") and prediction.expect.ratio is None else 1.0
    axis.set_ylabel(_label(prediction), fontsize=7)
    for run in runs_claimed(findings.folder, prediction):
        for curve, look in _curves(findings, prediction, run):
            # Predictions speak of training: the base's value before it would only squeeze the panel.
            trained = curve.x > 0
            shown, _ = thinned(Curve(curve.x[trained], curve.y[trained]))
            axis.plot(shown.x, scale * shown.y, **look)
    if verdict is not None and verdict.estimate is not None and prediction.expect.predicate in ON_THE_AXIS:
        low = verdict.estimate if verdict.low is None else verdict.low
        high = verdict.estimate if verdict.high is None else verdict.high
        axis.errorbar(
            [100 * measure.due], [scale * verdict.estimate],
            yerr=[[max(0.0, scale * (verdict.estimate - low))], [max(0.0, scale * (high - verdict.estimate))]],
            fmt="D", markersize=5, capsize=4, color=COLOURS[verdict.word][1], ecolor="#000000",
            markeredgecolor="#000000", markeredgewidth=0.6, linewidth=1.2, zorder=5,
        )  # fmt: skip
    _frame(axis, prediction, scale=scale)


def _frame(axis: Axes, prediction: Prediction, *, scale: float) -> None:
    """Make room for the claimed numbers, then draw the box; a claim off the axis shows its window alone."""
    if prediction.expect.predicate not in ON_THE_AXIS:
        start, end = (100 * at for at in prediction.measure.period)
        axis.axvspan(start, end, facecolor="#F2F2F2", zorder=0, label="window of the claim")
        return
    low, high = axis.get_ylim()
    numbers = [scale * number for number in prediction.expect.numbers]
    if prediction.expect.predicate in ("differs", "coincide"):
        numbers += [-number for number in numbers]
    if not axis.lines:
        low, high = min(numbers), max(numbers)
    low, high = min(low, *numbers), max(high, *numbers)
    room = 0.12 * (high - low) or 0.5
    axis.set_ylim(low - room, high + room)
    corridor(axis, prediction, scale=scale)


def _label(prediction: Prediction) -> str:
    measure = prediction.measure
    what = measure.metric.replace("_", " ") + ("" if measure.kind.whole_answer else f", {measure.tokens}")
    unit = "%" if measure.kind.unit.startswith("share") else measure.kind.unit
    if prediction.expect.ratio is not None:
        return f"{what}: {measure.arm} / {measure.versus}"
    return f"{what}, {unit}\n{measure.arm}" + (f" - {measure.versus}" if measure.versus else "")


def _curves(findings: Findings, prediction: Prediction, run: RunSpec) -> list[tuple[Curve, dict[str, object]]]:
    looks: dict[str, dict[str, object]] = {
        "validation": {"color": "#0072B2", "marker": "o", "markersize": 3, "linewidth": 0.9, "label": "validation"},
        "train": {"color": "#777777", "linewidth": 0.5, "label": "training, raw"},
        "test": {"color": "#000000", "marker": "x", "linestyle": "none", "label": "test"},
    }
    found = []
    for split in splits_claimed(prediction):
        curve = claimed_curve(findings.folder, prediction, run, split=split)
        if curve is not None and curve.x.size:
            look = looks.get(split, {"color": "#0072B2", "marker": "o", "linewidth": 0.9, "label": split})
            found.append((curve, look))
    return found
