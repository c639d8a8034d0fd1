"""Stage maps: the output of each stage of a network for one image, one row per stage, and class means below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from headstart.errors import DataError
from headstart.figures.images import as_images, draw_image, value_range
from headstart.figures.style import MUTED, TEXT, axes_at, new_figure, shorten

Map = NDArray[np.floating]

_CELL = 118.0  # points of a map's side
_HEADING = 20.0  # above each row
_LEFT = 92.0  # names of the stages


@dataclass(frozen=True, eq=False)
class MapRow:
    """A row of maps.

    Args:
        name: before the row. note: below the name. titles: above each map. maps: H×W each, or H×W×3 colours.
        shared: one scale for all maps of the row, so that they can be compared; else each has its own.
    """

    name: str
    note: str
    titles: tuple[str, ...]
    maps: tuple[Map, ...]
    shared: bool = False


def stage_maps_figure(image: Map | None, title: str, rows: Sequence[MapRow]) -> Figure:
    """The image at the upper left, then one row of maps per stage; white is the largest value of a map.

    Args:
        image: H×W×3 in [0, 1], or any numbers, which are stretched; None: no image.
        title: above the image.

    Raises:
        DataError: there is nothing to draw.
    """
    if not rows or any(not row.maps for row in rows):
        raise DataError(expected="at least one map per stage", found="none", where="stage_maps_figure")
    first = [] if image is None else [MapRow("image", "", (title,), (as_images(image[np.newaxis])[0],))]
    drawn = [*first, *rows]
    columns = max(len(row.maps) for row in drawn)
    width, height = _LEFT + _CELL * max(columns, 3), (_CELL + _HEADING) * len(drawn)
    figure = new_figure(width, height)
    figure.set_layout_engine("none")
    for number, row in enumerate(drawn):
        upper = height - number * (_CELL + _HEADING) - _HEADING
        _draw_row(figure, row, upper)
        middle = (upper - _CELL / 2) / height
        figure.text(8 / width, middle, shorten(row.name, 14), fontsize=10, color=TEXT, va="bottom", parse_math=False)
        figure.text(8 / width, middle - 4 / height, row.note, fontsize=8.5, color=MUTED, va="top", parse_math=False)
    return figure


def _draw_row(figure: Figure, row: MapRow, upper: float) -> None:
    characters = 60 if len(row.maps) == 1 else 19
    for column, (title, one) in enumerate(zip(row.titles, row.maps, strict=True)):
        axes = axes_at(figure, (_LEFT + column * _CELL + 4, upper - _CELL + 8, _CELL - 8, _CELL - 8))
        values = np.asarray(one, dtype=float)
        draw_image(axes, values, value_range(np.stack(row.maps) if row.shared else values))
        words = shorten(title, characters)
        axes.set_title(words, fontsize=8.5, color=MUTED, loc="left", pad=3, parse_math=False)
