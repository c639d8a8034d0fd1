"""Confusion matrix: which class was taken for which."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from headstart.errors import DataError
from headstart.figures.ink import FAINT, INK, RIGHT, RULE, WRONG, canvas, label

MOST_CLASSES = 30  # beyond, the cells of a page-wide matrix are too small to read


def confusion_figure(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> Figure:
    """A square of counts, coloured by their share of the row: right answers in one colour, mistakes in another.

    Args:
        confusion: C×C counts; rows are the true classes, columns the answers.
        classes: C names, drawn as they are, never as formulas.

    Raises:
        DataError: the counts are not C×C.
    """
    count = len(classes)
    if count == 0 or len(confusion) != count or any(len(row) != count for row in confusion):
        raise DataError(expected=f"{count}×{count} counts", found=f"{len(confusion)} rows", where="confusion_figure")
    cell = 92 if count <= 2 else max(24.0, min(64.0, 300 / count))
    longest = max(len(label(name)) for name in classes)
    side = cell * count
    figure = canvas(side + 7 * longest + 44, side + (5.5 * longest if _turns(count, longest) else 16) + 40)
    axes = figure.add_subplot()
    for row, counts in enumerate(confusion):
        total = sum(counts)
        for column, images in enumerate(counts):
            if images:
                _draw_cell(axes, row, column, images, images / total, _letters(cell, images))
    _dress(axes, classes, size=min(12.0, 7 + cell / 12), turns=_turns(count, longest))
    return figure


def _draw_cell(axes: Axes, row: int, column: int, images: int, share: float, size: float) -> None:
    colour = RIGHT if row == column else WRONG
    # never so strong that the ink on it is hard to read, never so weak that one mistake is overlooked
    alpha = 0.12 + 0.43 * share
    axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=colour, alpha=alpha, linewidth=0))
    axes.text(column, row, str(images), ha="center", va="center", color=INK, fontsize=size)


def _dress(axes: Axes, classes: Sequence[str], *, size: float, turns: bool) -> None:
    count = len(classes)
    names = [label(name) for name in classes]
    axes.set(xlim=(-0.5, count - 0.5), ylim=(count - 0.5, -0.5), aspect="equal")
    axes.set_xticks(range(count), names, parse_math=False, fontsize=size, color=INK)
    axes.set_yticks(range(count), names, parse_math=False, fontsize=size, color=INK)
    if turns:
        for text in axes.get_xticklabels():
            text.set(rotation=45, ha="right", va="top", rotation_mode="anchor")
    axes.set_xlabel("answered", color=FAINT, fontsize=11)
    axes.set_ylabel("true class", color=FAINT, fontsize=11)
    axes.tick_params(length=0)
    axes.set_facecolor("none")
    axes.set_axisbelow(False)
    for spine in axes.spines.values():
        spine.set_color(RULE)
    for edge in range(1, count):
        axes.axhline(edge - 0.5, color=RULE, linewidth=0.8)
        axes.axvline(edge - 0.5, color=RULE, linewidth=0.8)


def _turns(count: int, longest: int) -> bool:
    """Whether the names below the columns are too long to lie flat."""
    return longest * 7 > (92 if count <= 2 else max(24.0, min(64.0, 300 / count)))


def _letters(cell: float, images: int) -> float:
    """Size of a count that fits its cell."""
    return max(6.0, min(cell / 3, 15.0, cell * 1.4 / max(2, len(str(images)))))
