"""Confusion matrix: how many images of each class were predicted as each class."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from headstart.errors import DataError
from headstart.figures.style import BLUE, GRID, MUTED, ORANGE, TEXT, new_figure, shorten
from headstart.public_api import public_api

MAX_CLASSES = 30  # beyond, the cells of a page-wide matrix are too small to read


@public_api
def confusion_figure(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> Figure:
    """A square of counts, coloured by their share of the row: correct predictions in one colour, errors in another.

    Args:
        confusion: C×C counts; rows are the true classes, columns the predictions.
        classes: C names, drawn as they are, never as formulas.

    Raises:
        DataError: the counts are not C×C.
    """
    count = len(classes)
    if count == 0 or len(confusion) != count or any(len(row) != count for row in confusion):
        raise DataError(expected=f"{count}×{count} counts", found=f"{len(confusion)} rows", where="confusion_figure")
    cell = 92 if count <= 2 else max(24.0, min(64.0, 300 / count))
    longest = max(len(shorten(name)) for name in classes)
    turned = longest * 7 > cell  # the names below the columns are too long to lie flat
    side = cell * count
    figure = new_figure(side + 7 * longest + 44, side + (5.5 * longest if turned else 16) + 40)
    axes = figure.add_subplot()
    for row, counts in enumerate(confusion):
        for column, images in enumerate(counts):
            if images:
                _draw_cell(axes, (row, column), images / sum(counts))
                size = max(6.0, min(cell / 3, 15.0, cell * 1.4 / max(2, len(str(images)))))
                axes.text(column, row, str(images), ha="center", va="center", color=TEXT, fontsize=size)
    _style(axes, classes, size=min(12.0, 7 + cell / 12), turned=turned)
    return figure


def _draw_cell(axes: Axes, position: tuple[int, int], share: float) -> None:
    row, column = position
    # never so strong that the text on it is hard to read, never so weak that a single error is overlooked
    alpha = 0.12 + 0.43 * share
    color = BLUE if row == column else ORANGE
    axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=color, alpha=alpha, linewidth=0))


def _style(axes: Axes, classes: Sequence[str], *, size: float, turned: bool) -> None:
    count = len(classes)
    names = [shorten(name) for name in classes]
    axes.set(xlim=(-0.5, count - 0.5), ylim=(count - 0.5, -0.5), aspect="equal")
    axes.set_xticks(range(count), names, parse_math=False, fontsize=size, color=TEXT)
    axes.set_yticks(range(count), names, parse_math=False, fontsize=size, color=TEXT)
    if turned:
        for text in axes.get_xticklabels():
            text.set(rotation=45, ha="right", va="top", rotation_mode="anchor")
    axes.set_xlabel("predicted class", color=MUTED, fontsize=11)
    axes.set_ylabel("true class", color=MUTED, fontsize=11)
    axes.tick_params(length=0)
    axes.set_axisbelow(False)
    for spine in axes.spines.values():
        spine.set_color(GRID)
    for edge in range(1, count):
        axes.axhline(edge - 0.5, color=GRID, linewidth=0.8)
        axes.axvline(edge - 0.5, color=GRID, linewidth=0.8)
