"""Attribution: an image, the same under heat that speaks for its class, and the training images it looks like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from numpy.typing import NDArray

from headstart.errors import DataError
from headstart.figures.axes import sheet
from headstart.figures.ink import FAINT, INK, RIGHT, RULE, WRONG, label

HEAT = "inferno"
_CELL = 205.0  # points of a picture's side
_SMALL = 118.0  # of a training image
_HEAD, _NOTES = 40.0, 14.0


@dataclass(frozen=True, eq=False)
class Panel:
    """A picture with words.

    Args:
        title: above it. note: below it, one or two lines. heat: H×W drawn over it; None: the picture alone.
        frame: colour of its frame.
    """

    title: str
    picture: NDArray[np.floating]
    note: str = ""
    heat: NDArray[np.floating] | None = None
    frame: str = RULE


def attribution_figure(heading: str, panels: Sequence[Panel], alike: Sequence[Panel] = (), words: str = "") -> Figure:
    """Panels in a row; below them the training images that are most alike.

    Args:
        heading: above all. panels: pictures H×W×3 in [0, 1] with their heat. words: before the row of training images.

    Raises:
        DataError: there is nothing to draw.
    """
    if not panels:
        raise DataError(expected="a picture", found="none", where="attribution_figure")
    below = _SMALL + 54 if alike else 0.0
    width = max(_CELL * len(panels) + 60, (_SMALL + 8) * len(alike) + 90, 420)
    height = _HEAD + 18 + _CELL + _NOTES + below
    figure = sheet(width, height)
    figure.set_layout_engine("none")
    figure.text(8 / width, 1 - 22 / height, label(heading, int(width / 7.4)), fontsize=12, color=INK, parse_math=False)
    top = height - _HEAD
    for place, panel in enumerate(panels):
        axes = _axes(figure, (8 + place * _CELL, top - 18 - _CELL + 12), _CELL - 12, (width, height))
        _draw(axes, panel, 10)
    if any(panel.heat is not None for panel in panels):
        _legend(figure, (8 + len(panels) * _CELL, top - 18 - _CELL + 12), _CELL - 12, (width, height))
    for place, panel in enumerate(alike):
        axes = _axes(figure, (88 + place * (_SMALL + 8), 30), _SMALL - 4, (width, height))
        _draw(axes, panel, 8.5)
    if alike:
        figure.text(8 / width, (30 + _SMALL / 2) / height, words, fontsize=9, color=FAINT, va="center")
    return figure


def _axes(figure: Figure, corner: tuple[float, float], side: float, size: tuple[float, float]) -> Axes:
    return figure.add_axes((corner[0] / size[0], corner[1] / size[1], side / size[0], side / size[1]))


def _draw(axes: Axes, panel: Panel, size: float) -> None:
    picture = panel.picture.clip(0, 1)
    if panel.heat is None:
        axes.imshow(picture, interpolation="bilinear")
    else:  # over grey: on an orange flower the heat could not be seen
        axes.imshow(picture.mean(-1), cmap="gray", vmin=0, vmax=1, interpolation="bilinear")
        heat = scaled(panel.heat)
        axes.imshow(heat, cmap=HEAT, vmin=0, vmax=1, alpha=0.1 + 0.6 * heat, interpolation="bilinear")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_color(panel.frame)
        spine.set_linewidth(2 if panel.frame in (RIGHT, WRONG) else 0.8)
    axes.set_title(label(panel.title, 34), fontsize=size, color=INK, loc="left", pad=4, parse_math=False)
    axes.set_xlabel(panel.note, fontsize=size - 1.5, color=FAINT, loc="left", parse_math=False)


def scaled(heat: NDArray[np.floating]) -> NDArray[np.float64]:
    """What speaks for the class, the largest is 1; all zero where nothing does."""
    positive = np.asarray(heat, dtype=np.float64).clip(min=0)
    most = float(positive.max()) if positive.size else 0.0
    return positive / most if most > 0 else positive


def _legend(figure: Figure, corner: tuple[float, float], height: float, size: tuple[float, float]) -> None:
    axes = figure.add_axes((corner[0] / size[0], corner[1] / size[1], 9 / size[0], height / size[1]))
    bar = figure.colorbar(ScalarMappable(cmap=HEAT), cax=axes, ticks=[0, 1])
    bar.ax.set_yticklabels(["none", "most"], fontsize=8.5, color=FAINT)
    bar.ax.set_ylabel("speaks for the class", fontsize=8.5, color=FAINT, labelpad=-14)
    bar.outline.set_visible(False)
