"""Attribution: an image, heat maps of what supports its class, and the most similar training images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from numpy.typing import NDArray

from headstart.errors import DataError
from headstart.figures.style import BLUE, GRID, MUTED, ORANGE, TEXT, axes_at, new_figure, shorten

COLORMAP = "inferno"
_CELL = 205.0  # points of an image's side
_SMALL = 118.0  # of a training image
_HEADING, _NOTES = 40.0, 14.0


@dataclass(frozen=True, eq=False)
class HeatmapPanel:
    """An image with a title, or a heat map over it.

    Args:
        title: above it. image: H×W×3 in [0, 1]. note: below it, one or two lines.
        heat: H×W drawn over the image; None: the image alone.
        frame: colour of its frame.
    """

    title: str
    image: NDArray[np.floating]
    note: str = ""
    heat: NDArray[np.floating] | None = None
    frame: str = GRID


def attribution_figure(
    heading: str, panels: Sequence[HeatmapPanel], *, similar: Sequence[HeatmapPanel] = (), similar_title: str = ""
) -> Figure:
    """Panels side by side; below them the most similar training images, with their title at the left.

    Raises:
        DataError: there is nothing to draw.
    """
    if not panels:
        raise DataError(expected="at least one panel", found="none", where="attribution_figure")
    below = _SMALL + 54 if similar else 0.0
    width = max(_CELL * len(panels) + 60, (_SMALL + 8) * len(similar) + 90, 420)
    height = _HEADING + 18 + _CELL + _NOTES + below
    figure = new_figure(width, height)
    figure.set_layout_engine("none")
    words = shorten(heading, int(width / 7.4))
    figure.text(8 / width, 1 - 22 / height, words, fontsize=12, color=TEXT, parse_math=False)
    bottom, side = height - _HEADING - 18 - _CELL + 12, _CELL - 12
    for number, panel in enumerate(panels):
        _draw(axes_at(figure, (8 + number * _CELL, bottom, side, side)), panel, 10)
    if any(panel.heat is not None for panel in panels):
        _draw_colorbar(figure, axes_at(figure, (8 + len(panels) * _CELL, bottom, 9, side)))
    for number, panel in enumerate(similar):
        _draw(axes_at(figure, (88 + number * (_SMALL + 8), 30, _SMALL - 4, _SMALL - 4)), panel, 8.5)
    if similar:
        figure.text(8 / width, (30 + _SMALL / 2) / height, similar_title, fontsize=9, color=MUTED, va="center")
    return figure


def _draw(axes: Axes, panel: HeatmapPanel, size: float) -> None:
    image = panel.image.clip(0, 1)
    if panel.heat is None:
        axes.imshow(image, interpolation="bilinear")
    else:  # over grey: on an orange flower the heat could not be seen
        axes.imshow(image.mean(-1), cmap="gray", vmin=0, vmax=1, interpolation="bilinear")
        heat = scaled(panel.heat)
        axes.imshow(heat, cmap=COLORMAP, vmin=0, vmax=1, alpha=0.1 + 0.6 * heat, interpolation="bilinear")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_color(panel.frame)
        spine.set_linewidth(2 if panel.frame in (BLUE, ORANGE) else 0.8)
    axes.set_title(shorten(panel.title, 34), fontsize=size, color=TEXT, loc="left", pad=4, parse_math=False)
    axes.set_xlabel(panel.note, fontsize=size - 1.5, color=MUTED, loc="left", parse_math=False)


def scaled(heat: NDArray[np.floating]) -> NDArray[np.float64]:
    """The positive evidence, divided by its largest value; all zero where there is none."""
    positive = np.asarray(heat, dtype=np.float64).clip(min=0)
    largest = float(positive.max()) if positive.size else 0.0
    return positive / largest if largest > 0 else positive


def _draw_colorbar(figure: Figure, axes: Axes) -> None:
    bar = figure.colorbar(ScalarMappable(cmap=COLORMAP), cax=axes, ticks=[0, 1])
    bar.ax.tick_params(color=MUTED)
    bar.ax.set_yticklabels(["none", "most"], fontsize=8.5, color=MUTED)
    bar.ax.set_ylabel("evidence for the class", fontsize=8.5, color=MUTED, labelpad=-14)
    bar.outline.set_visible(False)
