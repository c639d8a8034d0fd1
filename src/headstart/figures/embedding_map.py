"""Embedding map: images as points in the colour of their class, some of them as thumbnails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from numpy.typing import NDArray

from headstart.errors import DataError
from headstart.figures.style import GRID, GROUND, MUTED, SERIES, TEXT, new_figure, series_color, shorten, style_axes

_SIDE = 34.0  # points of a thumbnail
_SIZE = 620.0


def embedding_figure(
    points: NDArray[np.floating],
    *,
    axes_names: tuple[str, str],
    labels: Sequence[int] = (),
    classes: Sequence[str] = (),
    thumbnails: Mapping[int, NDArray[np.floating]] | None = None,
    marked: Mapping[int, str] | None = None,
) -> Figure:
    """A point for each of N images.

    Args:
        points: N×2. labels: N, index into classes; none: all in one colour.
        thumbnails: image → H×W×3 in [0, 1], drawn at its point in a frame of its class's colour.
        marked: image → its name, written beside it.

    Raises:
        DataError: there are no points, or not as many labels.
    """
    if not len(points) or (len(labels) and len(labels) != len(points)):
        found = f"{len(points)} points, {len(labels)} labels"
        raise DataError(expected="a point and a label for each image", found=found, where="embedding_figure")
    figure = new_figure(_SIZE, _SIZE * 0.82)
    axes = figure.add_subplot()
    colors = [series_color(number) for number in labels] or [TEXT] * len(points)
    axes.scatter(points[:, 0], points[:, 1], c=colors, s=16, linewidths=0, alpha=0.85, zorder=2)
    for image, thumbnail in (thumbnails or {}).items():
        small = OffsetImage(thumbnail.clip(0, 1), zoom=_SIDE / max(thumbnail.shape[:2]), interpolation="bilinear")
        frame = {"edgecolor": colors[image], "linewidth": 1.6}
        axes.add_artist(AnnotationBbox(small, tuple(points[image]), pad=0.06, bboxprops=frame, zorder=3))
    for image, name in (marked or {}).items():
        axes.annotate(
            shorten(name, 24), tuple(points[image]), xytext=(0, -_SIDE / 2 - 5), textcoords="offset points",
            ha="center", va="top", fontsize=8, color=TEXT, parse_math=False, zorder=4,
            bbox={"facecolor": GROUND, "edgecolor": GRID, "linewidth": 0.5, "pad": 1.2, "alpha": 0.85},
        )  # fmt: skip
    axes.set_xlabel(axes_names[0], color=MUTED, fontsize=10)
    axes.set_ylabel(axes_names[1], color=MUTED, fontsize=10)
    axes.margins(0.07)
    style_axes(axes)
    _draw_legend(axes, labels, classes)
    return figure


def _draw_legend(axes: Axes, labels: Sequence[int], classes: Sequence[str]) -> None:
    """The colours of the classes that are there, above the axes."""
    present = sorted(set(labels))[: len(SERIES)]
    if not present:
        return
    dots = [Line2D([], [], marker="o", linestyle="", color=series_color(one), markersize=6) for one in present]
    names = [shorten(classes[one] if one < len(classes) else f"class {one}", 18) for one in present]
    legend = axes.legend(
        dots, names, loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=min(len(dots), 5), frameon=False,
        fontsize=9.5, labelcolor=TEXT, handletextpad=0.2, columnspacing=1.2,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)
