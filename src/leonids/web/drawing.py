"""A chart as SVG: what is read without JavaScript, printed, and saved. Presentation attributes only, no style."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import final

import numpy as np

from leonids.report.escape import visible
from leonids.report.palette import CORRIDOR
from leonids.web.chart import Chart, Floats, Line, Stack

WIDTH, HEIGHT = 720.0, 300.0
LEFT, RIGHT, TOP, BOTTOM = 64.0, 12.0, 12.0, 44.0
LETTER_PX, ROW_PX, LABEL_PX = 6.4, 18.0, 14.0
TICKS = 6
MOST_LABEL = 60
HALO = 'class="halo" stroke="#ffffff" stroke-width="3" stroke-linejoin="round" paint-order="stroke"'
"""Around words that may come to lie on something."""


@final
@dataclass(frozen=True, slots=True)
class Frame:
    """The part of the drawing where values are: their ranges, and the pixels of a place."""

    x: tuple[float, float]
    y: tuple[float, float]

    def px(self, x: float) -> float:
        """Return the horizontal pixel of a place."""
        return LEFT + (x - self.x[0]) / (self.x[1] - self.x[0]) * (WIDTH - LEFT - RIGHT)

    def py(self, y: float) -> float:
        """Return the vertical pixel of a value, kept inside the frame."""
        inside = min(max(y, self.y[0]), self.y[1])
        return TOP + (self.y[1] - inside) / (self.y[1] - self.y[0]) * (HEIGHT - TOP - BOTTOM)


def _range(values: Sequence[float], *, room: float) -> tuple[float, float]:
    known = [value for value in values if math.isfinite(value)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    spread = (high - low) or abs(high) or 1.0
    return low - room * spread, high + room * spread


def frame_of(chart: Chart) -> Frame:
    """Return the frame that holds everything that is drawn."""
    xs = [float(end(line.x)) for line in chart.lines if len(line.x) for end in (np.min, np.max)]
    xs += [end for box in chart.boxes for end in box.x]
    if chart.stacks:
        # Bars stand at places of the progress, however many there are yet.
        xs += [-5.0, 105.0]
    if chart.frame is not None:
        return Frame(_range(xs, room=0.02), chart.frame)
    ys = [y for line in chart.lines for y in _ends(line)]
    ys += [end for box in chart.boxes for end in box.y] + [y for _, y in chart.levels]
    ys += [side for stack in chart.stacks for side in _reach(stack)]
    return Frame(_range(xs, room=0.02), _range(ys, room=0.05))


def _ends(line: Line) -> list[float]:
    columns = [values for values in (line.y, line.low, line.high) if values is not None and len(values)]
    finite = [values[np.isfinite(values)] for values in columns]
    return [float(end(values)) for values in finite if len(values) for end in (np.min, np.max)]


def _reach(stack: Stack) -> tuple[float, float, float]:
    return (
        0.0,
        sum(value for _, value, _ in stack.parts if value > 0),
        sum(value for _, value, _ in stack.parts if value < 0),
    )


def ticks(low: float, high: float) -> list[float]:
    """Return round places between two ends: steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= rough)
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]


def svg(chart: Chart) -> str:
    """Return the chart as an SVG document, its words escaped, its title and caption for one who cannot see it."""
    frame = frame_of(chart)
    entries = _legend(chart)
    rows = _placed([label for label, _ in entries])
    height = HEIGHT + ROW_PX * (rows[-1][1] + 1 if rows else 0)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {height:g}" role="img" font-size="11" '
        f'font-family="system-ui, sans-serif" fill="currentColor">',
        f"<title>{_text(chart.title, most=200)}</title><desc>{_text(chart.caption, most=1000)}</desc>",
        f'<rect class="paper" width="{WIDTH:g}" height="{height:g}" fill="#ffffff"/>',
        *_axes(chart, frame),
        *_boxes(chart, frame),
        *(mark for line in chart.lines for mark in _line(line, frame)),
        *(mark for stack in chart.stacks for mark in _stack(stack, frame)),
        *_levels(chart, frame),
    ]
    for (label, key), (x, row) in zip(entries, rows, strict=True):
        y = HEIGHT + ROW_PX * row
        parts.append(f'<g transform="translate({x:.1f} {y:.1f})">{key}<text x="26" y="4">{_text(label)}</text></g>')
    return "".join(parts) + "</svg>"


def _text(text: str, *, most: int = MOST_LABEL) -> str:
    return escape(visible(text, most=most))


def _axes(chart: Chart, frame: Frame) -> Iterator[str]:
    right, floor = WIDTH - RIGHT, HEIGHT - BOTTOM
    for y in ticks(*frame.y):
        at = frame.py(y)
        yield f'<path d="M{LEFT:g} {at:.1f}H{right:g}" stroke="currentColor" stroke-opacity="0.15"/>'
        yield f'<text x="{LEFT - 6:g}" y="{at + 4:.1f}" text-anchor="end">{y:.6g}</text>'
    for x in ticks(*frame.x):
        yield f'<text x="{frame.px(x):.1f}" y="{floor + 15:g}" text-anchor="middle">{x:,.6g}</text>'
    yield f'<path d="M{LEFT:g} {TOP:g}V{floor:g}H{right:g}" fill="none" stroke="currentColor"/>'
    yield f'<text x="{(LEFT + right) / 2:g}" y="{floor + 32:g}" text-anchor="middle">{_text(chart.x_label)}</text>'
    middle = (TOP + floor) / 2
    yield (f'<text transform="translate(13 {middle:g}) rotate(-90)" text-anchor="middle">{_text(chart.y_label)}</text>')


def _boxes(chart: Chart, frame: Frame) -> Iterator[str]:
    for box in chart.boxes:
        left, right = frame.px(box.x[0]), frame.px(box.x[1])
        top, bottom = frame.py(box.y[1]), frame.py(box.y[0])
        yield (
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{max(right - left, 2):.1f}" height="{max(bottom - top, 1):.1f}"'
            f' fill="{CORRIDOR}" fill-opacity="0.6" stroke="#B8860B"/>'
        )


def _levels(chart: Chart, frame: Frame) -> Iterator[str]:
    groups: list[list[tuple[float, str]]] = []
    for label, y in sorted(chart.levels, key=lambda level: -level[1]):
        at = frame.py(y)
        yield f'<path d="M{LEFT:g} {at:.1f}H{WIDTH - RIGHT:g}" stroke="currentColor" stroke-dasharray="2 3"/>'
        # Lines closer than a word is high share one place for their words.
        if groups and at - groups[-1][-1][0] < LABEL_PX:
            groups[-1].append((at, label))
        else:
            groups.append([(at, label)])
    for group in groups:
        words = _text(", ".join(label for _, label in group))
        yield f'<text x="{WIDTH - RIGHT - 4:g}" y="{group[0][0] - 4:.1f}" text-anchor="end" {HALO}>{words}</text>'


def _points(frame: Frame, x: Floats, y: Floats) -> Iterator[list[str]]:
    """Give the stretches of a line between values that are not numbers."""
    for known, group in itertools.groupby(zip(x.tolist(), y.tolist(), strict=True), lambda p: math.isfinite(p[1])):
        if known:
            yield [f"{frame.px(a):.1f} {frame.py(b):.1f}" for a, b in group]


def _line(line: Line, frame: Frame) -> Iterator[str]:
    opacity, width = ("0.35", "1") if line.faint else ("1", "1.5")
    look = f'stroke="{line.colour}" stroke-opacity="{opacity}" stroke-width="{width}"'
    if line.low is not None and line.high is not None and len(line.x) > 1:
        there = np.isfinite(line.low) & np.isfinite(line.high)
        x, low, high = line.x[there], line.low[there], line.high[there]
        edge = [p for part in _points(frame, x, high) for p in part]
        edge += [p for part in _points(frame, x[::-1], low[::-1]) for p in part]
        if edge:
            yield f'<path d="M{"L".join(edge)}Z" fill="{line.colour}" fill-opacity="0.15"/>'
    dash = f' stroke-dasharray="{line.dash}"' if line.dash else ""
    if line.low is not None and line.high is not None and len(line.x) == 1:
        low, high = float(line.low[0]), float(line.high[0])
        if math.isfinite(low) and math.isfinite(high):
            yield f'<path d="M{frame.px(line.x[0]):.1f} {frame.py(low):.1f}V{frame.py(high):.1f}" {look}/>'
    for points in _points(frame, line.x, line.y):
        yield f'<path d="M{"L".join(points)}" fill="none" {look}{dash}/>'
        if line.dots or len(points) == 1:
            for point in points:
                x, y = point.split()
                yield f'<circle cx="{x}" cy="{y}" r="3" fill="{line.colour}"/>'


def _stack(stack: Stack, frame: Frame) -> Iterator[str]:
    up = down = 0.0
    left, right = frame.px(stack.x - 3), frame.px(stack.x + 3)
    for _, value, colour in stack.parts:
        start = up if value >= 0 else down
        top, bottom = frame.py(max(start, start + value)), frame.py(min(start, start + value))
        yield (
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.2f}" fill="{colour}"'
            ' stroke="#333333" stroke-width="0.5"/>'
        )
        if value >= 0:
            up += value
        else:
            down += value
    if up > frame.y[1]:
        across = f"M{left - 6:.1f} {TOP + 34:g}L{right + 6:.1f} {TOP + 26:g}"
        yield f'<path class="halo" d="{across}" stroke="#ffffff" stroke-width="4"/>'
        middle = (left + right) / 2
        yield f'<text x="{middle:.1f}" y="{TOP + 14:g}" text-anchor="middle" {HALO}>{up:.2f}</text>'


def _legend(chart: Chart) -> list[tuple[str, str]]:
    """Return labels with their keys; what looks the same is listed once."""
    found: dict[str, str] = {}
    for line in chart.lines:
        dash = f' stroke-dasharray="{line.dash}"' if line.dash else ""
        dot = f'<circle cx="11" cy="0" r="3" fill="{line.colour}"/>' if line.dots else ""
        found.setdefault(
            line.group or line.label, f'<path d="M0 0H22" stroke="{line.colour}" stroke-width="2"{dash}/>{dot}'
        )
    for stack in chart.stacks:
        for name, _, colour in stack.parts:
            key = f'<rect y="-6" width="22" height="11" fill="{colour}" stroke="#333333" stroke-width="0.5"/>'
            found.setdefault(name, key)
    for box in chart.boxes:
        key = f'<rect y="-6" width="22" height="11" fill="{CORRIDOR}" stroke="#B8860B"/>'
        found.setdefault(box.label, key)
    return list(found.items())


def _placed(labels: Sequence[str]) -> list[tuple[float, int]]:
    """Return the place and row of each legend entry, in as many rows as they need."""
    x, row, found = LEFT, 0, []
    for label in labels:
        width = 26 + LETTER_PX * len(visible(label, most=MOST_LABEL)) + 16
        if x + width > WIDTH and x > LEFT:
            x, row = LEFT, row + 1
        found.append((x, row))
        x += width
    return found
