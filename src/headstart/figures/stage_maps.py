"""Stage maps: what each stage of a network makes of one image, a row for each, and the mean maps of classes below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from headstart.errors import DataError
from headstart.figures.axes import sheet
from headstart.figures.ink import FAINT, INK, label
from headstart.figures.pictures import as_pictures, draw_picture, scale_of

Map = NDArray[np.floating]

_CELL = 118.0  # points of a picture's side
_HEAD = 20.0  # above each row
_LEFT = 92.0  # names of the stages


@dataclass(frozen=True, eq=False)
class MapRow:
    """A row of maps; each is drawn on its own scale.

    Args:
        name: before the row. note: below the name. titles: above each map. maps: H×W each, or H×W×3 colours.
        shared: whether all maps of the row have one scale, so that they can be compared.
    """

    name: str
    note: str
    titles: tuple[str, ...]
    maps: tuple[Map, ...]
    shared: bool = False


def stage_maps_figure(picture: Map | None, title: str, rows: Sequence[MapRow]) -> Figure:
    """The image on top at the left, then a row of maps for each stage; white is the largest number of a map.

    Args:
        picture: H×W×3 in [0, 1], or any numbers, which are stretched; None: no image.
        title: above the image.

    Raises:
        DataError: there is nothing to draw.
    """
    if not rows or any(not row.maps for row in rows):
        raise DataError(expected="a map of each stage", found="none", where="stage_maps_figure")
    first = [] if picture is None else [MapRow("image", "", (title,), (as_pictures(picture[np.newaxis])[0],))]
    drawn = [*first, *rows]
    across = max(len(row.maps) for row in drawn)
    width, height = _LEFT + _CELL * max(across, 3), (_CELL + _HEAD) * len(drawn)
    figure = sheet(width, height)
    figure.set_layout_engine("none")
    for place, row in enumerate(drawn):
        top = height - place * (_CELL + _HEAD) - _HEAD
        for column, one in enumerate(row.maps):
            box = (_LEFT + column * _CELL + 4, top - _CELL + 8, _CELL - 8, _CELL - 8)
            axes = figure.add_axes((box[0] / width, box[1] / height, box[2] / width, box[3] / height))
            _draw(axes, one, row)
            letters = 60 if len(row.maps) == 1 else 19
            axes.set_title(
                label(row.titles[column], letters), fontsize=8.5, color=FAINT, loc="left", pad=3, parse_math=False
            )
        middle = (top - _CELL / 2) / height
        figure.text(8 / width, middle, label(row.name, 14), fontsize=10, color=INK, va="bottom", parse_math=False)
        figure.text(8 / width, middle - 4 / height, row.note, fontsize=8.5, color=FAINT, va="top", parse_math=False)
    return figure


def _draw(axes: Axes, one: Map, row: MapRow) -> None:
    low, high = scale_of(np.stack(row.maps) if row.shared else np.asarray(one, dtype=float))
    draw_picture(axes, np.asarray(one, dtype=float), low, high)
