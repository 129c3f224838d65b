"""A chart as data: lines, bands, boxes and bars, from which its drawing, its table and its CSV are made."""

import csv
import functools
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from leonids.report.escape import visible

Floats: TypeAlias = NDArray[np.float64]

MOST_POINTS = 1200
"""Above this many points a line shows the least, greatest and last value of equal stretches, and says so."""

TABLE_ROWS = 25
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula."""


@final
@dataclass(frozen=True, slots=True)
class Line:
    """Values ``y`` [n] over places ``x`` [n], with interval ends where there are any.

    Lines of one ``group`` look alike and share the legend's entry.
    """

    label: str
    x: Floats
    y: Floats
    colour: str
    dash: str = ""
    low: Floats | None = None
    high: Floats | None = None
    dots: bool = False
    faint: bool = False
    group: str = ""


@final
@dataclass(frozen=True, slots=True)
class Box:
    """A region that was claimed; an end that is infinite runs to the frame's."""

    label: str
    x: tuple[float, float]
    y: tuple[float, float]


@final
@dataclass(frozen=True, slots=True)
class Stack:
    """One bar at a place: its parts from the bottom up, (name, value, colour); negative ones hang below zero."""

    x: float
    parts: tuple[tuple[str, float, str], ...]


@final
@dataclass(frozen=True, slots=True)
class Chart:
    """What is drawn, in the unit of its axes. ``levels`` are horizontal lines, (label, y).

    ``partial``: more was recorded than has been read so far.
    """

    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...] = ()
    boxes: tuple[Box, ...] = ()
    levels: tuple[tuple[str, float], ...] = ()
    stacks: tuple[Stack, ...] = ()
    caption: str = ""
    frame: tuple[float, float] | None = None
    partial: bool = False

    @property
    def recorded(self) -> int:
        """The points of the longest line."""
        return max((len(line.x) for line in self.lines), default=0)


def kept(y: Floats, *, most: int) -> NDArray[np.int64]:
    """Return the places of the least, greatest and last value of equal stretches of ``y`` [n]; all when few enough."""
    if len(y) <= most:
        return np.arange(len(y))
    found: set[int] = {0}
    for stretch in np.array_split(np.arange(len(y)), most // 3):
        part = y[stretch]
        number = ~np.isnan(part)
        found |= {
            int(stretch[np.argmin(np.where(number, part, math.inf))]),
            int(stretch[np.argmax(np.where(number, part, -math.inf))]),
            int(stretch[-1]),
        }
    return np.array(sorted(found))


def _picked(line: Line, places: NDArray[np.int64]) -> Line:
    low, high = (None if ends is None else ends[places] for ends in (line.low, line.high))
    return replace(line, x=line.x[places], y=line.y[places], low=low, high=high)


def thinned(chart: Chart, *, most: int = MOST_POINTS) -> Chart:
    """Return the chart with at most about ``most`` points a line; its caption says so where points were left out."""
    if chart.recorded <= most:
        return chart
    lines = tuple(_picked(line, kept(line.y, most=most)) for line in chart.lines)
    shown = max(len(line.x) for line in lines)
    note = (
        f"Shown: the least, greatest and last value of equal stretches, {shown:,} of {chart.recorded:,} points a line; "
        "no peak is lost."
    )
    return replace(chart, lines=lines, caption=f"{chart.caption} {note}".strip())


def of_seeds(label: str, lines: Sequence[Line]) -> Line:
    """Return the mean of lines at the places that all of them have, with their least and greatest value as ends."""
    x = functools.reduce(np.intersect1d, [line.x for line in lines])
    y = np.array([line.y[np.isin(line.x, x)] for line in lines])
    return replace(lines[0], label=label, x=x, y=y.mean(axis=0), low=y.min(axis=0), high=y.max(axis=0), group="")


def smoothed(line: Line, *, steps: int) -> Line:
    """Return a line's mean over its past, weights falling by 1/e every ``steps`` points: no later point enters."""
    weight = math.exp(-1.0 / steps)
    total = count = 0.0
    y = np.empty_like(line.y)
    for at, value in enumerate(line.y.tolist()):
        if math.isfinite(value):
            total, count = weight * total + value, weight * count + 1.0
        y[at] = total / count if count else math.nan
    name, group = (f"{text}, smoothed over {steps} steps" if text else "" for text in (line.label, line.group))
    return replace(line, label=name, y=y, low=None, high=None, faint=False, group=group)


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def as_json(chart: Chart) -> dict[str, Any]:
    """Return the chart as JSON; what is not finite is null, and the frame's end in a box."""

    def numbers(values: Floats | None) -> list[float | None] | None:
        return None if values is None else [_plain(value) for value in values.tolist()]

    return {
        "title": chart.title,
        "x_label": chart.x_label,
        "y_label": chart.y_label,
        "caption": chart.caption,
        "frame": chart.frame,
        "partial": chart.partial,
        "lines": [
            {
                "label": line.label,
                "x": numbers(line.x),
                "y": numbers(line.y),
                "low": numbers(line.low),
                "high": numbers(line.high),
                "colour": line.colour,
                "dash": [int(part) for part in line.dash.split()],
                "dots": line.dots,
                "faint": line.faint,
                "group": line.group or line.label,
            }
            for line in chart.lines
        ],
        "boxes": [{"label": box.label, "x": list(box.x), "y": [_plain(end) for end in box.y]} for box in chart.boxes],
        "levels": [{"label": label, "y": y} for label, y in chart.levels],
    }


def cell(text: str) -> str:
    """Return a text that a spreadsheet shows and does not calculate."""
    shown = visible(text, most=200)
    return "'" + shown if text.startswith(FORMULA) or shown.startswith(FORMULA) else shown


def as_csv(chart: Chart) -> str:
    """Return every point of the chart, none left out: series, place, value and interval ends."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("series", cell(chart.x_label), cell(chart.y_label), "low", "high"))
    for line in chart.lines:
        ends = [[""] * len(line.x) if values is None else values.tolist() for values in (line.low, line.high)]
        name = cell(line.label)
        for row in zip(line.x.tolist(), line.y.tolist(), *ends, strict=True):
            writer.writerow((name, *row))
    for stack in chart.stacks:
        for name, value, _ in stack.parts:
            writer.writerow((cell(name), stack.x, value, "", ""))
    return file.getvalue()


def figure(value: float) -> str:
    """Return a number with as many digits as say it to a reader; what is not finite is a word."""
    return f"{value:.6g}" if math.isfinite(value) else str(value)


def table(chart: Chart) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the chart's table: header and rows; of a long line evenly spaced points, first and last among them."""
    if chart.stacks:
        names = list(dict.fromkeys(name for stack in chart.stacks for name, _, _ in stack.parts))
        rows = []
        for stack in chart.stacks:
            values = {name: figure(value) for name, value, _ in stack.parts}
            rows.append((figure(stack.x), *(values.get(name, "") for name in names)))
        return (chart.x_label, *names), rows
    return ("series", chart.x_label, chart.y_label, "interval or range"), [
        row for line in chart.lines for row in _line_rows(line)
    ]


def _line_rows(line: Line) -> list[tuple[str, ...]]:
    n = len(line.x)
    places: Sequence[int] = range(n)
    if n > TABLE_ROWS:
        places = np.unique(np.linspace(0, n - 1, TABLE_ROWS).round().astype(np.int64)).tolist()
    rows: list[tuple[str, ...]] = []
    for at in places:
        low, high = (math.nan if ends is None else float(ends[at]) for ends in (line.low, line.high))
        between = f"{figure(low)} to {figure(high)}" if math.isfinite(low) and math.isfinite(high) else ""
        rows.append((line.label, figure(line.x[at]), figure(line.y[at]), between))
    return rows
