"""Figures whose axis is not the progress: how honest confidence is, in which phase runs are, what rests on what."""

import textwrap
from collections.abc import Mapping, Sequence

from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from leonids.report.canvas import CLEAR, Axes, blank, drawn, legend, sheet, styled, svg
from leonids.report.claimed import COLOURS, word_of
from leonids.report.escape import visible
from leonids.report.explain import Explanation
from leonids.report.figures import Drawing
from leonids.report.findings import Findings
from leonids.report.numbers import Value, ends
from leonids.report.phases import Phase, Standing
from leonids.report.reliability import Reliability
from leonids.report.sections import STATUS_ICONS
from leonids.report.seeds import of_arms, rows_of

SEED_LOOKS = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#000000", "v"))
"""Colour and marker of each seed; the round begins anew after the last."""


def reliability_diagram(findings: Findings) -> Drawing | None:
    """Draw how often what is said with a probability is right, at each run's last review; None where unknown."""
    known = [(one, one.reliability) for one in findings.explanations if isinstance(one.reliability, Reliability)]
    arms = list(dict.fromkeys(one.arm for one, _ in known))
    if not arms:
        return None
    seeds = {run.run: run.data_seed for run in findings.folder.runs}
    with styled():
        figure, axes = sheet(len(arms), share_y=True, progress=False)
        for at, (axis, arm) in enumerate(zip(axes, arms, strict=True)):
            axis.set_title(arm)
            _reliability_panel(axis, {seeds[one.run]: found for one, found in known if one.arm == arm})
            axis.set_ylabel("share that is right")
            if at >= len(arms) - 2:
                axis.set_xlabel("confidence")
        legend(figure, drawn(axes))
        content = svg(figure)
    return Drawing(
        "reliability",
        "For each arm, the share of tokens that are right against the confidence with which they were said, in tenths "
        "of confidence, one mark a seed with its exact 95 % interval; on the diagonal confidence is honest.",
        "Honesty of confidence at the last review, by one token an answer, the first that has to be worked out: "
        "points below the diagonal boast, those above it doubt. Bars are exact 95 % intervals, the numbers how many "
        "answers of the first seed a point holds. In the corner: smooth calibration error, and its value by chance.",
        content,
    )


def _reliability_panel(axis: Axes, by_seed: Mapping[int, Reliability]) -> None:
    axis.set_xlim(-0.02, 1.02)
    axis.set_ylim(-0.12, 1.05)
    axis.plot([0, 1], [0, 1], color="#555555", linestyle="--", linewidth=0.9, label="honest")
    said = []
    for at, (seed, found) in enumerate(by_seed.items()):
        colour, marker = SEED_LOOKS[at % len(SEED_LOOKS)]
        bins = found.bins
        x, y = [part.confidence for part in bins], [part.right.estimate for part in bins]
        reach = [[part.right.estimate - (part.right.low or 0.0) for part in bins]]
        reach += [[(1.0 if part.right.high is None else part.right.high) - part.right.estimate for part in bins]]
        axis.errorbar(
            x, y, yerr=reach, color=colour, marker=marker, linestyle="none", elinewidth=0.7, capsize=2,
            label=f"seed {seed}",
        )  # fmt: skip
        for part in bins if at == 0 else ():
            axis.text(part.confidence, -0.1, str(part.right.n), fontsize=5, ha="center", color="#444444")
        error = found.error
        said.append(f"seed {seed}: error {error.value:.3f}, by chance {error.null:.3f}, n {found.n}")
    axis.text(
        0.99, 0.1, "\n".join(said), transform=axis.transAxes, ha="right", va="bottom", fontsize=6,
        bbox=CLEAR,
    )  # fmt: skip


def phases(findings: Findings) -> Drawing:
    """Draw the phase of every run at every review, by confidence and by the ladder, with the interval it rests on."""
    runs = findings.folder.runs
    by_arm, named = of_arms(runs), rows_of(runs)
    names = list(named)
    kinds = [("by confidence on right tokens", _by_confidence), ("by the ladder of plateaus", _by_ladder)]
    tables = []
    for title, cell in kinds:
        rows = [
            [
                _pooled([cell(one) for one in at.explanations if one.run in {run.run for run in own}])
                for at in findings.checkpoints
            ]
            for own in named.values()
        ]
        if any(row_cell is not None for row in rows for row_cell in row):
            tables.append((title, rows))
    with styled():
        figure, axes = blank(len(tables) or 1, height_in=max(len(tables), 1) * (0.5 + 0.3 * len(names)))
        for axis, (title, rows) in zip(axes, tables, strict=False):
            axis.set_title(f"phase {title}")
            _phase_table(axis, rows, runs=names, reviews=[at.label for at in findings.checkpoints])
        if not tables:
            axes[0].text(0.5, 0.5, "no review yet", ha="center")
        content = svg(figure)
    of = "arm (from its least seed to its greatest)" if by_arm else "run"
    return Drawing(
        "phases",
        f"Tables of {'arms' if by_arm else 'runs'} against reviews: in each cell the phase, and its number with its "
        "interval; darker cells are later phases, hatched ones lie on a border.",
        f"The phase of every {of} at every review. Above: by the confidence on right tokens. Below: by the answer loss "
        "in nats an example, against the plateaus computed before training. "
        + ("" if by_arm else "In brackets 95 % intervals over examples. ")
        + "Where an interval holds a border, both phases are named and the cell is hatched.",
        content,
    )


Cell = tuple[str, str]
"""A phase's words, and the number it rests on with its interval."""


def _by_confidence(found: Explanation) -> tuple[str, Value] | None:
    return (found.phase.word, found.phase.confidence) if isinstance(found.phase, Phase) else None


def _by_ladder(found: Explanation) -> tuple[str, Value] | None:
    return (found.ladder.word, found.ladder.loss) if isinstance(found.ladder, Standing) else None


def _pooled(found: Sequence[tuple[str, Value] | None]) -> Cell | None:
    """Return the phases of one run with its number, or of the seeds of an arm with where their numbers go."""
    known = [one for one in found if one is not None]
    if not known:
        return None
    words = " or ".join(dict.fromkeys(word for words, _ in known for word in words.split(" or ")))
    if len(found) == 1:
        return words, _number(known[0][1])
    numbers = sorted(value.estimate for _, value in known)
    return words, f"{numbers[0]:.2f} to {numbers[-1]:.2f}, {len(known)} seed{'s' * (len(known) > 1)}"


def _number(value: Value) -> str:
    shown = ends(value, places=2)
    return f"{value.estimate:.2f}" + (f" ({shown})" if shown else "")


LATER = (
    ("at the floor", "#9ECAE1"), ("working out", "#C6DBEF"), ("refinement", "#9ECAE1"), ("confidence", "#C6DBEF"),
    ("structural", "#E6EFF8"), ("the pipeline", "#DCE9F5"), ("question", "#E9F1F9"),
)  # fmt: skip
"""How dark a cell is, by the latest phase that it names."""


def _phase_table(
    axis: Axes, rows: Sequence[Sequence[Cell | None]], *, runs: Sequence[str], reviews: Sequence[str]
) -> None:
    axis.set_xlim(0, len(reviews))
    axis.set_ylim(len(runs), 0)
    axis.set_xticks([at + 0.5 for at in range(len(reviews))], reviews)
    axis.set_yticks([at + 0.5 for at in range(len(runs))], [visible(run, most=24) for run in runs])
    axis.tick_params(length=0, labelsize=7)
    axis.spines[:].set_visible(False)
    axis.grid(visible=False)
    for row, cells in enumerate(rows):
        for column, cell in enumerate(cells):
            words, number = cell or ("not measured", "")
            colour = next((shade for word, shade in LATER if word in words), "#FFFFFF")
            axis.fill_between(
                [column, column + 1], row, row + 1, facecolor=colour, edgecolor="#FFFFFF", linewidth=1.5,
                hatch="////" if " or " in words else None,
            )  # fmt: skip
            text = textwrap.fill(words.replace(" or ", " / "), 26)
            axis.text(
                column + 0.5, row + 0.5, f"{text}\n{number}" if number else text, ha="center", va="center", fontsize=5.5
            )


BOX_W, BOX_H, A_ROW = 0.185, 0.62, 4
FIRST_COLUMN, A_COLUMN = 0.34, 0.19
"""A prediction's box in shares of the sheet's width and of a row's height; boxes a row; where their middles are."""


def graph(findings: Findings) -> Drawing | None:
    """Draw hypotheses and their predictions with their verdicts, and what needs what; None without hypotheses."""
    hypotheses = findings.folder.hypotheses
    if not hypotheses:
        return None
    lines = {name: max(1, -(-len(said.predictions) // A_ROW)) for name, said in hypotheses.items()}
    total = sum(lines.values())
    with styled():
        figure, (axis,) = blank(1, height_in=0.25 + 0.55 * total)
        axis.set_axis_off()
        axis.set_xlim(0.0, 1.0)
        axis.set_ylim(total, 0.0)
        places: dict[str, tuple[float, float]] = {}
        top = 0
        for name, said in hypotheses.items():
            places[name] = (0.09, top + lines[name] / 2)
            for at, prediction in enumerate(said.predictions):
                places[prediction.id] = (FIRST_COLUMN + A_COLUMN * (at % A_ROW), top + at // A_ROW + 0.5)
            axis.fill_between([0.0, 1.0], top + 0.06, top + lines[name] - 0.06, facecolor="#F3F3F3", linewidth=0)
            top += lines[name]
        _boxes(axis, findings, places)
        for name, said in hypotheses.items():
            _arrows(axis, places, {name: said.needs, **{p.id: p.needs for p in said.predictions}})
        content = svg(figure)
    words = ", ".join(
        f"{name} {findings.statuses[name].word}"
        + "".join(f"; {p.id} {word_of(findings.verdicts.get(p.id))}" for p in said.predictions)
        for name, said in hypotheses.items()
    )
    return Drawing(
        "graph",
        f"Hypotheses and their predictions as boxes with their verdicts, arrows to what each needs: {words}.",
        "Hypotheses (left) and their predictions with their verdicts. An arrow leads from a claim to what it needs: "
        "where that falls, the claim says nothing. Dashed boxes are supporting predictions, which cannot refute alone.",
        content,
    )


def _boxes(axis: Axes, findings: Findings, places: Mapping[str, tuple[float, float]]) -> None:
    for name, said in findings.folder.hypotheses.items():
        status = findings.statuses[name]
        judged = any(p.id in findings.verdicts for p in said.predictions)
        word = f"{STATUS_ICONS[status.word]} {status.word}" if judged else "… not judged yet"
        colour = COLOURS["inconclusive" if status.word == "open" else status.word][1] if judged else "#999999"
        _box(axis, places[name], f"{visible(name, most=18)}\n{word}", colour=colour, bold=True)
        for prediction in said.predictions:
            verdict = findings.verdicts.get(prediction.id)
            _box(
                axis, places[prediction.id], f"{visible(prediction.id, most=18)}\n{word_of(verdict)}",
                colour=COLOURS[verdict.word][1] if verdict else "#999999", dashed=prediction.role == "supporting",
            )  # fmt: skip


def _box(
    axis: Axes, place: tuple[float, float], text: str, *, colour: str, bold: bool = False, dashed: bool = False
) -> None:
    x, y = place
    shape = FancyBboxPatch(
        (x - BOX_W / 2 + 0.01, y - BOX_H / 2), BOX_W - 0.02, BOX_H, boxstyle="round,pad=0,rounding_size=0.01",
        mutation_aspect=5.0, facecolor="#FFFFFF", edgecolor=colour, linewidth=1.8 if bold else 1.2,
        linestyle="--" if dashed else "-", zorder=2,
    )  # fmt: skip
    axis.add_patch(shape)
    axis.text(x, y, text, ha="center", va="center", fontsize=7, weight="bold" if bold else "normal", zorder=3)


def _arrows(axis: Axes, places: Mapping[str, tuple[float, float]], needs: Mapping[str, Sequence[str]]) -> None:
    pairs = [(name, need) for name, needed in needs.items() for need in needed if need in places]
    for name, need in pairs:
        points = route(places[name], places[need])
        lines = Path(points, [Path.MOVETO, *(Path.LINETO for _ in points[1:])])
        arrow = FancyArrowPatch(
            path=lines, arrowstyle="-|>", mutation_scale=8, color="#333333", linewidth=0.9, zorder=4
        )
        axis.add_patch(arrow)


def route(start: tuple[float, float], end: tuple[float, float]) -> list[tuple[float, float]]:
    """Return the corners of an arrow between the middles of two boxes, which leads around every box between them."""
    (x, y), (to_x, to_y) = start, end
    half_w, half_h, gutter = BOX_W / 2 - 0.01, BOX_H / 2, 0.44
    aside, lift = (-1 if to_x < x else 1), (-1 if to_y <= y else 1)
    if y == to_y and abs(to_x - x) <= A_COLUMN + 0.07:
        return [(x + aside * half_w, y), (to_x - aside * half_w, y)]
    if y == to_y:
        return [(x, y - half_h), (x, y - gutter), (to_x, y - gutter), (to_x, y - half_h)]
    if x == to_x and abs(to_y - y) <= 1:
        return [(x, y + lift * half_h), (x, to_y - lift * half_h)]
    # Down or up beside the column of the end, on the side that it is come from; the first column has its right side.
    side = 1 if to_x < FIRST_COLUMN or to_x < x else -1
    lane = to_x + side * (BOX_W / 2 + 0.002)
    return [(x, y + lift * half_h), (x, y + lift * 0.5), (lane, y + lift * 0.5), (lane, to_y),
            (to_x + side * half_w, to_y)]  # fmt: skip


def diagrams(findings: Findings) -> tuple[Drawing, ...]:
    """Return these figures, those that the folder has something for."""
    found = (reliability_diagram(findings), phases(findings), graph(findings))
    return tuple(one for one in found if one is not None)
