"""A sheet of panels as SVG: the same bytes for the same data, readable in print and by colour-blind readers."""

import io
from collections.abc import Sequence
from typing import Any, TypeAlias

import matplotlib.style
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

Axes: TypeAlias = Any
Sheet: TypeAlias = Any

STYLE: dict[str, object] = {
    "svg.hashsalt": "leonids",
    "svg.fonttype": "path",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 8.0,
    "axes.titlesize": 9.0,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E5E5E5",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "hatch.linewidth": 0.6,
    "lines.markersize": 4.0,
}
"""Text is drawn as paths, so that a reader without the font sees the same; names are never read as formulas."""

CLEAR = {"facecolor": "#FFFFFF", "edgecolor": "none", "alpha": 0.75, "pad": 0.5}
"""What lies behind a text that may come to lie on a curve."""

COLUMNS, WIDTH_IN, PANEL_IN, FOOT_IN = 2, 7.2, 2.35, 0.45


def sheet(panels: int, *, share_y: bool, progress: bool = True) -> tuple[Sheet, list[Axes]]:
    """Return an empty sheet and its ``panels`` axes, two in a row, with room for a legend below.

    Their x axis is the progress, unless the caller draws another one.
    """
    columns = min(COLUMNS, panels)
    rows = -(-panels // columns)
    figure = Figure(figsize=(WIDTH_IN, rows * PANEL_IN + FOOT_IN), layout="constrained")
    FigureCanvasSVG(figure)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=share_y)
    axes = [axis for row in grid for axis in row]
    for spare in axes[panels:]:
        spare.remove()
    for axis in axes[:panels]:
        if progress:
            axis.set_xlim(-5.0, 105.0)
            axis.set_xticks([0, 25, 50, 75, 100])
        # A shared axis hides its numbers in the second column, where a reader needs them as much.
        axis.tick_params(labelleft=True)
    for axis in axes[max(0, panels - columns) : panels] if progress else ():
        axis.set_xlabel("progress, % of planned steps")
    return figure, axes[:panels]


def blank(panels: int, *, height_in: float) -> tuple[Sheet, list[Axes]]:
    """Return an empty sheet and its ``panels`` axes, one above the other over the whole width."""
    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    FigureCanvasSVG(figure)
    return figure, list(figure.subplots(panels, 1, squeeze=False)[:, 0])


def legend(figure: Sheet, handles: Sequence[Any]) -> None:
    """Put one legend under all panels; each label once, in the order first drawn."""
    named = {handle.get_label(): handle for handle in handles if not str(handle.get_label()).startswith("_")}
    if named:
        figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=min(4, len(named)))


def drawn(axes: Sequence[Axes]) -> list[Any]:
    """Return every labelled handle on the axes."""
    return [handle for axis in axes for handle in axis.get_legend_handles_labels()[0]]


def styled() -> Any:
    """Return the context in which sheets are made and saved; a user's own matplotlib settings do not enter."""
    return matplotlib.style.context(["default", STYLE], after_reset=True)


def svg(figure: Sheet) -> bytes:
    """Return the sheet as SVG without date or program version."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
