"""Figures: what is drawn is what was given, names are never read as formulas or markup, and no window opens."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from xml.etree import ElementTree

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from headstart.errors import DataError
from headstart.figures.confusion import confusion_figure
from headstart.figures.ink import INK, RIGHT, WRONG, canvas, label
from headstart.figures.reliability import Point, reliability_figure
from headstart.figures.svg import inline_svg

COUNTS = ((7, 1, 0), (0, 4, 0), (2, 0, 3))
POINTS = (Point(0.4, 0.6, 10, 0.52, 0.4, 0.17, 0.69), Point(0.8, 1.0, 40, 0.95, 0.975, 0.87, 0.996))


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


def test_cells_are_coloured_by_right_or_wrong_and_by_their_share_of_the_true_class() -> None:
    found = cells(confusion_figure(COUNTS, ("ant", "bee", "cat")).axes[0])

    right, wrong = (matplotlib_rgb(colour) for colour in (RIGHT, WRONG))
    assert all(
        patch.get_facecolor()[:3] == pytest.approx(right if y == x else wrong) for (y, x), patch in found.items()
    )
    strength = {place: patch.get_alpha() for place, patch in found.items()}
    assert strength[1, 1] > strength[0, 0] > strength[2, 2] > strength[2, 0] > strength[0, 1]  # 1, .875, .6, .4, .125


def matplotlib_rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))


def test_counts_are_readable_on_the_strongest_cell() -> None:
    alpha = max(patch.get_alpha() for patch in cells(confusion_figure(((9, 0), (0, 9)), ("a", "b")).axes[0]).values())

    for colour in (RIGHT, WRONG):
        ground = [alpha * share + 1 - alpha for share in matplotlib_rgb(colour)]  # over white
        assert contrast(ground, matplotlib_rgb(INK)) >= 4.5  # WCAG 2.1, 1.4.3


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


def test_long_names_keep_their_beginning_and_their_end() -> None:
    assert label("short") == "short"
    assert label("golden retriever number 17") == "golden retri…er 17"
    assert len(label("x" * 500)) == 18


@pytest.mark.parametrize("count", [1, 2, 9, 30])
def test_every_name_of_up_to_thirty_classes_is_there_twice(count: int) -> None:
    names = [f"class {i:02}" for i in range(count)]

    texts = Counter(drawn(confusion_figure([[3] * count for _ in names], names)))

    assert all(texts[name] == 2 for name in names)
    assert texts["3"] == count * count


def test_a_reliability_diagram_has_a_dot_an_interval_and_a_count_for_each_bin() -> None:
    upper, lower = reliability_figure(POINTS).axes

    dots = [tuple(collection.get_offsets()[0]) for collection in upper.collections]
    assert dots == [pytest.approx((0.52, 0.4)), pytest.approx((0.95, 0.975))]
    lines = [(line.get_xdata()[0], *line.get_ydata()) for line in upper.lines[1:]]
    assert lines == [(0.52, 0.17, 0.69), (0.95, 0.87, 0.996)]
    assert [text.get_text() for text in lower.texts] == ["10", "40"]
    assert [bar.get_height() for bar in lower.patches] == [10, 40]


def test_the_area_of_a_dot_grows_with_its_images() -> None:
    sizes = [collection.get_sizes()[0] for collection in reliability_figure(POINTS).axes[0].collections]

    assert sizes[1] - 16 == pytest.approx(4 * (sizes[0] - 16))


def test_the_line_of_a_perfect_model_is_the_diagonal() -> None:
    line = reliability_figure(POINTS).axes[0].lines[0]

    assert list(line.get_xdata()) == list(line.get_ydata()) == [0, 1]


@pytest.mark.parametrize("points", [(), (Point(0.4, 0.6, 1, float("nan"), 0.5, 0.1, 0.9),)])
def test_nothing_to_draw_is_refused(points: tuple[Point, ...]) -> None:
    with pytest.raises(DataError, match="bins with shares"):
        reliability_figure(points)


def test_inline_svg_is_one_element_that_describes_itself_and_loads_nothing() -> None:
    text = inline_svg(reliability_figure(POINTS), 'what <it> "shows" & why')

    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("aria-label") == 'what <it> "shows" & why'
    assert root.get("role") == "img"
    addresses = re.findall(r'(?:href|src)="([^"]*)"|url\(([^)]*)\)', text)
    assert all((one or other).startswith("#") for one, other in addresses)
    assert "<!--" not in text
    assert "<style" not in text


def test_colours_follow_the_page_but_never_inside_a_name() -> None:
    text = inline_svg(confusion_figure(((1, 0), (0, 1)), (f"fill: {RIGHT}", "b")), "two classes")

    assert f"fill: var(--right, {RIGHT})" in text
    assert f">fill: {RIGHT}<" in text
    assert not re.search(rf"(fill|stroke): {RIGHT}[;\"]", text)


def test_two_figures_of_one_page_share_no_ids_and_one_figure_is_always_the_same_text() -> None:
    one = inline_svg(reliability_figure(POINTS), "one")
    other = inline_svg(reliability_figure(POINTS), "other")

    ids = re.findall(r'id="([^"]*)"', one + other)
    assert ids
    assert len(set(ids)) == len(ids)
    assert inline_svg(reliability_figure(POINTS), "one") == one


def test_a_canvas_is_as_large_as_asked_and_without_a_ground() -> None:
    figure = canvas(320, 240)

    assert tuple(figure.get_size_inches() * 72) == (320, 240)
    assert not figure.patch.get_visible()


def test_drawing_never_imports_pyplot() -> None:
    code = (
        "import sys\n"
        "from headstart.figures.confusion import confusion_figure\n"
        "from headstart.figures.svg import inline_svg\n"
        "inline_svg(confusion_figure(((1, 0), (0, 1)), 'ab'), 'x')\n"
        "print('matplotlib.pyplot' in sys.modules)\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
