"""Axes: a white sheet for notebooks and files, the user's own axes where there are some, and their plain dress."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from headstart.figures.ink import FAINT, RULE

DPI = 110  # dots per inch: sharp enough for a notebook


def sheet(width: float, height: float) -> Figure:
    """An empty figure of that many points (72 to the inch) on white; it never opens a window.

    Not transparent as `ink.canvas` is, which takes the page's colours: dark ink on a dark notebook could not be read.
    """
    return Figure(figsize=(width / 72, height / 72), dpi=DPI, layout="constrained", facecolor="white")


def axes_on(ax: Axes | None, width: float, height: float) -> tuple[Figure, Axes]:
    """The given axes with the figure that holds them, or new axes on a sheet of that many points."""
    if ax is None:
        figure = sheet(width, height)
        return figure, figure.add_subplot()
    holder: Figure | SubFigure | None = ax.figure
    while isinstance(holder, SubFigure):
        holder = holder.figure
    assert holder is not None  # axes have a figure until they are removed
    return holder, ax


def letters_across(axes: Axes, size: float) -> int:
    """How many letters of a size in points fit into a line above the axes."""
    return max(24, int(axes.get_window_extent().width * 72 / axes.figure.dpi / (0.55 * size)))


def dress(axes: Axes) -> None:
    """Faint grid and labels, no frame: what is drawn stands out."""
    axes.tick_params(which="both", length=0, labelsize=9, labelcolor=FAINT)
    axes.grid(which="major", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(RULE)
