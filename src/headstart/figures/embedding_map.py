"""Embedding map: images as points in the colour of their class, some of them as small pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from numpy.typing import NDArray

from headstart.errors import DataError
from headstart.figures.axes import dress, sheet
from headstart.figures.ink import FAINT, INK, RIGHT, RULE, WRONG, label

COLOURS = (RIGHT, WRONG, "#4f8a4c", "#8a5aa5", "#b8902f", "#3f9aa0", "#b0567c", "#6b6f2e")
"""Of the first classes; told apart by lightness too as far as eight can be."""

_SIDE = 34.0  # points of a small picture
_SIZE = 620.0


def colour_of(number: int) -> str:
    """The colour of a class; all beyond the eighth are grey."""
    return COLOURS[number] if 0 <= number < len(COLOURS) else FAINT


def embedding_figure(
    places: NDArray[np.floating],
    *,
    axes_names: tuple[str, str],
    labels: Sequence[int] = (),
    classes: Sequence[str] = (),
    pictures: Mapping[int, NDArray[np.floating]] | None = None,
    marked: Mapping[int, str] | None = None,
) -> Figure:
    """A point for each of N images.

    Args:
        places: N×2. labels: N, index into classes; none: all alike.
        pictures: image → H×W×3 in [0, 1], drawn in its place in a frame of its class's colour.
        marked: image → its name, written beside it.

    Raises:
        DataError: there are no places, or not as many labels.
    """
    if not len(places) or (len(labels) and len(labels) != len(places)):
        found = f"{len(places)} places, {len(labels)} labels"
        raise DataError(expected="a place and a label of each image", found=found, where="embedding_figure")
    figure = sheet(_SIZE, _SIZE * 0.82)
    axes = figure.add_subplot()
    colours = [colour_of(number) for number in labels] or [INK] * len(places)
    axes.scatter(places[:, 0], places[:, 1], c=colours, s=16, linewidths=0, alpha=0.85, zorder=2)
    for image, picture in (pictures or {}).items():
        zoom = _SIDE / max(picture.shape[:2])
        small = OffsetImage(picture.clip(0, 1), zoom=zoom, interpolation="bilinear")
        x, y = map(float, places[image])
        frame = {"edgecolor": colours[image], "linewidth": 1.6}
        axes.add_artist(AnnotationBbox(small, (x, y), pad=0.06, bboxprops=frame, zorder=3))
    for image, name in (marked or {}).items():
        x, y = map(float, places[image])
        axes.annotate(
            label(name, 24), (x, y), xytext=(0, -_SIDE / 2 - 5), textcoords="offset points", ha="center", va="top",
            fontsize=8, color=INK, parse_math=False, zorder=4,
            bbox={"facecolor": "white", "edgecolor": RULE, "linewidth": 0.5, "pad": 1.2, "alpha": 0.85},
        )  # fmt: skip
    axes.set_xlabel(axes_names[0], color=FAINT, fontsize=10)
    axes.set_ylabel(axes_names[1], color=FAINT, fontsize=10)
    axes.margins(0.07)
    dress(axes)
    present = sorted(set(labels))[: len(COLOURS)]
    dots = [Line2D([], [], marker="o", linestyle="", color=colour_of(one), markersize=6) for one in present]
    names = [label(classes[one] if one < len(classes) else f"class {one}", 18) for one in present]
    if dots:
        legend = axes.legend(
            dots, names, loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=min(len(dots), 5), frameon=False,
            fontsize=9.5, labelcolor=INK, handletextpad=0.2, columnspacing=1.2,
        )  # fmt: skip
        for text in legend.get_texts():
            text.set_parse_math(False)
    return figure
