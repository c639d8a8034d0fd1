"""The confusion matrix: every count in its cell, readable, and names that are never formulas or markup."""

from __future__ import annotations

from collections import Counter
from xml.etree import ElementTree

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from headstart.errors import DataError
from headstart.figures.confusion import confusion_figure
from headstart.figures.style import BLUE, ORANGE, TEXT
from headstart.figures.svg import inline_svg

COUNTS = ((7, 1, 0), (0, 4, 0), (2, 0, 3))


def drawn(figure: Figure) -> list[str]:
    """The letters of a figure as the page gets them."""
    root = ElementTree.fromstring(inline_svg(figure, "a figure"))
    return [element.text or "" for element in root.iter() if element.tag.endswith("}text")]


def cells(axes: Axes) -> dict[tuple[int, int], Rectangle]:
    patches = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    return {(round(patch.get_y() + 0.5), round(patch.get_x() + 0.5)): patch for patch in patches}


def test_a_confusion_matrix_has_every_count_in_its_cell_and_nothing_where_nothing_was() -> None:
    axes = confusion_figure(COUNTS, ("ant", "bee", "cat")).axes[0]

    written = {(round(text.get_position()[1]), round(text.get_position()[0])): text.get_text() for text in axes.texts}
    assert written == {(0, 0): "7", (0, 1): "1", (1, 1): "4", (2, 0): "2", (2, 2): "3"}
    assert set(cells(axes)) == set(written)
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["ant", "bee", "cat"]
    assert axes.yaxis_inverted()  # the first class is on top


def test_cells_are_coloured_by_correct_or_not_and_by_their_share_of_the_true_class() -> None:
    found = cells(confusion_figure(COUNTS, ("ant", "bee", "cat")).axes[0])

    correct, wrong = (rgb(colour) for colour in (BLUE, ORANGE))
    assert all(
        patch.get_facecolor()[:3] == pytest.approx(correct if y == x else wrong) for (y, x), patch in found.items()
    )
    alpha = {place: patch.get_alpha() for place, patch in found.items()}
    assert alpha[1, 1] > alpha[0, 0] > alpha[2, 2] > alpha[2, 0] > alpha[0, 1]  # 1, .875, .6, .4, .125


def rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))


def test_counts_are_readable_on_the_darkest_cell() -> None:
    most = max(patch.get_alpha() for patch in cells(confusion_figure(((9, 0), (0, 9)), ("a", "b")).axes[0]).values())

    for colour in (BLUE, ORANGE):
        ground = [most * share + 1 - most for share in rgb(colour)]  # over white
        assert contrast(ground, rgb(TEXT)) >= 4.5  # WCAG 2.1, 1.4.3


def contrast(one: list[float] | tuple[float, ...], other: tuple[float, ...]) -> float:
    def luminance(rgb: list[float] | tuple[float, ...]) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("confusion", [((1, 2),), ((1, 2, 3), (4, 5, 6)), ()])
def test_a_matrix_that_does_not_fit_its_classes_is_refused(confusion: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(DataError, match="2×2 counts"):
        confusion_figure(confusion, ("a", "b"))


def test_names_are_drawn_as_they_are_and_neither_as_formulas_nor_as_markup() -> None:
    names = ("$x^2$", "<b>&", "50% $", "犬\u202e", "a\nb")
    confusion = [[int(i == j) for j in range(5)] for i in range(5)]

    texts = drawn(confusion_figure(confusion, names))

    assert Counter(texts)["$x^2$"] == 2
    assert {"<b>&", "50% $", "犬\\u202e", "a\\nb"} < set(texts)


@pytest.mark.parametrize("count", [1, 2, *(pytest.param(count, marks=pytest.mark.slow) for count in (9, 30))])
def test_every_name_of_up_to_thirty_classes_is_there_twice(count: int) -> None:
    names = [f"class {i:02}" for i in range(count)]

    texts = Counter(drawn(confusion_figure([[3] * count for _ in names], names)))

    assert all(texts[name] == 2 for name in names)
    assert texts["3"] == count * count
