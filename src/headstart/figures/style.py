"""The style of every figure: its few colours, an empty figure, plain axes, and names shortened and safe to draw.

The colours are fixed here so that `figures.svg` can replace them by the page's CSS variables, in light and in dark.
"""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from headstart.errors import shown
from headstart.figures.notebook import make_figure

TEXT = "#1e2022"
MUTED = "#6a6e73"  # axis labels, ticks, annotations
GRID = "#d9d5cd"
GROUND = "#fefefe"  # behind a label that lies over points
BLUE = "#3a6ea8"  # the first series; correct predictions
ORANGE = "#c2552d"  # the second series; errors. Differs from BLUE in lightness too, for those who do not see red
SERIES = (BLUE, ORANGE, "#4f8a4c", "#8a5aa5", "#b8902f", "#3f9aa0", "#b0567c", "#6b6f2e")
"""Colours of the first eight classes or series."""

CSS_VARIABLES = {
    TEXT: "--text",
    MUTED: "--muted",
    GRID: "--grid",
    GROUND: "--ground",
    BLUE: "--blue",
    ORANGE: "--orange",
    **{color: f"--series-{number}" for number, color in enumerate(SERIES[2:], 3)},
}
"""Colour → the page's CSS variable for it."""

DPI = 110  # dots per inch: sharp enough for a notebook


def series_color(number: int) -> str:
    """The colour of a class or series; all beyond the eighth are grey."""
    return SERIES[number] if 0 <= number < len(SERIES) else MUTED


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that many points (72 to the inch) on white; it never opens a window.

    White, since dark text on a dark notebook could not be read; `figures.svg` leaves the ground out.
    """
    return make_figure(figsize=(width / 72, height / 72), dpi=DPI, layout="constrained", facecolor="white")


def figure_and_axes(ax: Axes | None, width: float, height: float) -> tuple[Figure, Axes]:
    """The given axes with the figure that holds them, or new axes on a figure of that many points."""
    if ax is None:
        figure = new_figure(width, height)
        return figure, figure.add_subplot()
    holder: Figure | SubFigure | None = ax.figure
    while isinstance(holder, SubFigure):
        holder = holder.figure
    assert holder is not None  # axes have a figure until they are removed
    return holder, ax


def characters_across(axes: Axes, size: float) -> int:
    """How many characters of a size in points fit into a line above the axes."""
    return max(24, int(axes.get_window_extent().width * 72 / axes.figure.dpi / (0.55 * size)))


def style_axes(axes: Axes) -> None:
    """Faint grid and labels, no frame: what is drawn stands out."""
    axes.tick_params(which="both", length=0, labelsize=9, labelcolor=MUTED)
    axes.grid(which="major", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(GRID)


def shorten(name: str, most: int = 18) -> str:
    """A name from outside, safe to draw: control characters escaped, its middle left out beyond `most` characters."""
    safe = shown(name)
    if len(safe) <= most:
        return safe
    end = (most - 1) // 3  # names differ mostly at their beginning, and often by a number at their end
    return f"{safe[: most - 1 - end]}…{safe[len(safe) - end :]}"


def axes_at(figure: Figure, box: tuple[float, float, float, float]) -> Axes:
    """Axes whose left, bottom, width and height are given in points, on a figure without a layout engine."""
    width, height = (inches * 72 for inches in figure.get_size_inches())
    left, bottom, across, up = box
    return figure.add_axes((left / width, bottom / height, across / width, up / height))
