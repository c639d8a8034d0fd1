"""Panels: curves, bars and images, given as plain values, side by side in one figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from headstart.errors import DataError
from headstart.figures.images import draw_image, value_range
from headstart.figures.style import BLUE, MUTED, TEXT, new_figure, style_axes
from headstart.public_api import public_api

STYLES = ("line", "dashes", "dots", "steps")
_WIDTH, _HEIGHT = 330, 270  # pixels of a panel with axes
_LONG_NAME = 26  # characters: two such names do not fit side by side
_IMAGE = 210  # pixels of a panel with an image alone


@dataclass(frozen=True)
class Line:
    """One set of points (x, y) in a plot.

    Args:
        name: in the legend; empty: not in it.
        color: one of `figures.style`.
        style: `line`, `dashes`, `dots`, or `steps` (a histogram's outline: y over the middle x of each bin).
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    color: str = TEXT
    style: str = "line"


@dataclass(frozen=True)
class Plot:
    """Axes with lines; `marks` are vertical lines at an x, each with its label."""

    title: str
    lines: tuple[Line, ...]
    x_label: str = ""
    y_label: str = ""
    log_x: bool = False
    log_y: bool = False
    marks: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True)
class Bars:
    """Horizontal bars from zero, each with its name and its value written at its end."""

    title: str
    names: tuple[str, ...]
    values: tuple[float, ...]
    x_label: str = ""
    form: str = "{:g}"
    colors: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class ImagePlot:
    """An image H×W×3 or a map H×W of numbers, drawn without smoothing.

    Args:
        pixels: colours in [0, 1], clipped beyond; a map is drawn in greys from `low` to `high`.
        low, high: of a map; None: its own smallest and largest number.
        note: a line of text below.
    """

    title: str
    pixels: NDArray[np.floating]
    low: float | None = None
    high: float | None = None
    note: str = ""


Panel = Plot | Bars | ImagePlot


@public_api
def panels_figure(panels: Sequence[Panel], columns: int = 0) -> Figure:
    """All panels in reading order, in rows.

    Args:
        columns: panels side by side; 0: up to three, or five when all are images.

    Raises:
        DataError: there is nothing to draw, a line's x and y differ in length, or a style is unknown.
    """
    _check(panels)
    only_images = all(isinstance(panel, ImagePlot) for panel in panels)
    columns = columns or _columns(len(panels), only_images)
    rows = math.ceil(len(panels) / columns)
    width, height = (_IMAGE, _IMAGE + 34) if only_images else (_WIDTH, _HEIGHT)
    figure = new_figure(width * columns, height * rows)
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.1)
    for first in range(0, len(panels), columns):
        _draw_row(figure, panels[first : first + columns], (rows, columns, first + 1))
    return figure


def _draw_row(figure: Figure, panels: Sequence[Panel], position: tuple[int, int, int]) -> None:
    rows, columns, first = position
    axes = [figure.add_subplot(rows, columns, first + i) for i in range(len(panels))]
    above = max([_draw(one, panel) for one, panel in zip(axes, panels, strict=True)])
    for one, panel in zip(axes, panels, strict=True):  # above the legends, and on one height
        one.set_title(panel.title, color=TEXT, fontsize=11, loc="left", pad=6 + 15 * above, parse_math=False)


def _columns(count: int, only_images: bool) -> int:
    """Panels in a row, so that the last row is full where it can be."""
    if only_images:
        return count if count <= 5 else 3 if count % 3 == 0 else 4
    return 2 if count == 4 else min(count, 3)


def _check(panels: Sequence[Panel]) -> None:
    lines = [line for panel in panels if isinstance(panel, Plot) for line in panel.lines]
    wrong = [line.name for line in lines if len(line.x) != len(line.y) or line.style not in STYLES]
    if not panels or wrong:
        found = f"lines {wrong}" if wrong else "no panel"
        raise DataError(expected="panels whose lines have as many x as y", found=found, where="panels_figure")


def _draw(axes: Axes, panel: Panel) -> int:
    """Draw one panel; returns how many rows of a legend are between it and its title."""
    if isinstance(panel, Plot):
        return _draw_plot(axes, panel)
    if isinstance(panel, Bars):
        _draw_bars(axes, panel)
    else:
        _draw_image(axes, panel)
    return 0


def _draw_plot(axes: Axes, plot: Plot) -> int:
    drawn = [_draw_line(axes, line) for line in plot.lines]
    if plot.log_x:
        axes.set_xscale("log")
    if plot.log_y:
        axes.set_yscale("log")
    for x, label in plot.marks:
        axes.axvline(x, color=MUTED, linewidth=1, dashes=(4, 3), zorder=1)
        axes.annotate(
            label, (x, 0.03), xycoords=("data", "axes fraction"), xytext=(-4, 0), textcoords="offset points",
            rotation=90, ha="right", va="bottom", fontsize=8.5, color=MUTED, parse_math=False,
        )  # fmt: skip
    axes.set_xlabel(plot.x_label, color=MUTED, fontsize=10)
    axes.set_ylabel(plot.y_label, color=MUTED, fontsize=10)
    style_axes(axes)
    return _legend(axes, [(line.name, one) for line, one in zip(plot.lines, drawn, strict=True) if line.name])


def _legend(axes: Axes, named: list[tuple[str, Line2D]]) -> int:
    """Names of the lines above the axes, where no line can be; returns their rows."""
    if not named:
        return 0
    names, lines = zip(*named, strict=True)
    characters = sum(len(name) + 5 for name in names)
    across = len(names) if characters <= 2 * _LONG_NAME else 2 if max(map(len, names)) <= _LONG_NAME else 1
    legend = axes.legend(
        lines, names, loc="lower left", bbox_to_anchor=(-0.02, 0.98), ncols=across, frameon=False, fontsize=9,
        labelcolor=TEXT, handlelength=1.6, columnspacing=1.2, borderpad=0.2, labelspacing=0.3,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)
    return math.ceil(len(names) / across)


def _draw_line(axes: Axes, line: Line) -> Line2D:
    x, y, color, name = line.x, line.y, line.color, line.name
    if line.style == "dots":
        return axes.plot(x, y, "o", color=color, markersize=4, markeredgewidth=0, alpha=0.8, label=name)[0]
    if line.style == "steps":
        axes.fill_between(x, y, step="mid", color=color, alpha=0.13, linewidth=0)
        return axes.plot(x, y, drawstyle="steps-mid", color=color, linewidth=1.5, label=name)[0]
    dashes = (4, 2.5) if line.style == "dashes" else (None, None)
    return axes.plot(x, y, color=color, linewidth=1.8, dashes=dashes, label=name)[0]


def _draw_bars(axes: Axes, bars: Bars) -> None:
    positions = range(len(bars.values))
    colors = bars.colors or (BLUE,) * len(bars.values)
    axes.barh(positions, bars.values, height=0.62, color=colors, alpha=0.75, linewidth=0)
    for position, value in zip(positions, bars.values, strict=True):
        words = bars.form.format(value)
        axes.annotate(
            words,
            (max(value, 0), position),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            color=TEXT,
            fontsize=9,
        )
    axes.set_yticks(positions, bars.names, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlim(right=max((0.0, *bars.values)) * 1.25 or 1.0)  # space for the labels
    axes.set_xlabel(bars.x_label, color=MUTED, fontsize=10)
    style_axes(axes)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", labelcolor=TEXT)


def _draw_image(axes: Axes, plot: ImagePlot) -> None:
    pixels = np.asarray(plot.pixels, dtype=float)
    low, high = value_range(pixels)
    pixels = pixels.clip(0, 1) if pixels.ndim == 3 else pixels
    low, high = low if plot.low is None else plot.low, high if plot.high is None else plot.high
    draw_image(axes, pixels, (low, high))
    axes.set_xlabel(plot.note, color=MUTED, fontsize=9.5, parse_math=False)
