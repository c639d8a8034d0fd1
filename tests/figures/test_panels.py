"""Panels: what is drawn is what was given, legends stand above the lines, and rows are filled."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from headstart.errors import DataError
from headstart.figures.panels import Bars, ImagePlot, Line, Plot, panels_figure
from headstart.figures.style import BLUE, ORANGE

PLOT = Plot(
    "curves", (Line("one", (0, 1, 2), (0, 1, 4), BLUE), Line("other", (0, 2), (1, 1), ORANGE, "dots")), "x", "y"
)
GREY = ImagePlot("grey", np.arange(12.0).reshape(3, 4), note="twelve")


def grid(figure: Figure) -> tuple[int, int]:
    spec = figure.axes[0].get_subplotspec()
    assert spec is not None
    return spec.get_gridspec().get_geometry()


def test_lines_are_drawn_as_given_with_their_names_and_axes() -> None:
    (axes,) = panels_figure([PLOT]).axes

    drawn = [(line.get_label(), list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines]
    assert drawn == [("one", [0, 1, 2], [0, 1, 4]), ("other", [0, 2], [1, 1])]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title(loc="left")) == ("x", "y", "curves")
    assert [line.get_linestyle() for line in axes.lines] == ["-", "None"]


@pytest.mark.parametrize("names", [("a", "b"), ("plain", "with shortcuts", "as computed"), ("x" * 30, "y" * 20, "z")])
def test_a_legend_stands_above_all_lines_and_below_the_title(names: tuple[str, ...]) -> None:
    figure = panels_figure([Plot("title", tuple(Line(name, (0, 1), (0, 1)) for name in names)), PLOT])
    figure.canvas.draw()

    axes = figure.axes[0]
    legend = axes.get_legend()
    assert legend is not None
    box, title = legend.get_window_extent(), axes._left_title.get_window_extent()  # type: ignore[attr-defined]
    assert box.y0 >= axes.get_window_extent().y1 - 2
    assert title.y0 >= box.y1 - 3
    assert box.x1 <= figure.bbox.width + 1


def test_titles_of_a_row_stand_on_one_height() -> None:
    figure = panels_figure([PLOT, Plot("no legend", (Line("", (0, 1), (0, 1)),))])
    figure.canvas.draw()

    heights = [axes._left_title.get_window_extent().y0 for axes in figure.axes]  # type: ignore[attr-defined]
    assert heights[0] == pytest.approx(heights[1], abs=1)


def test_bars_grow_from_zero_and_carry_their_values() -> None:
    (axes,) = panels_figure([Bars("bars", ("$a$", "b"), (3.0, 0.0), form="{:.1f} M")]).axes

    assert [patch.get_width() for patch in axes.patches] == [3.0, 0.0]
    assert [text.get_text() for text in axes.texts] == ["3.0 M", "0.0 M"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["$a$", "b"]
    assert not axes.get_yticklabels()[0].get_parse_math()
    assert axes.yaxis_inverted()


def test_a_map_is_drawn_in_greys_from_low_to_high_and_colours_are_clipped() -> None:
    colours = ImagePlot("colours", np.full((2, 2, 3), 1.5))
    own, fixed, coloured = (
        axes.images[0] for axes in panels_figure([GREY, ImagePlot("", GREY.pixels, -1, 20), colours]).axes
    )

    assert own.get_clim() == (0, 11)
    assert fixed.get_clim() == (-1, 20)
    assert np.asarray(coloured.get_array()).max() == 1
    assert own.get_interpolation() == "nearest"


@pytest.mark.parametrize(("count", "expected"), [(1, (1, 1)), (2, (1, 2)), (3, (1, 3)), (4, (2, 2)), (6, (2, 3))])
def test_plots_fill_their_rows(count: int, expected: tuple[int, int]) -> None:
    assert grid(panels_figure([PLOT] * count)) == expected


@pytest.mark.parametrize(("count", "expected"), [(1, (1, 1)), (5, (1, 5)), (6, (2, 3)), (8, (2, 4))])
def test_pictures_fill_their_rows(count: int, expected: tuple[int, int]) -> None:
    assert grid(panels_figure([GREY] * count)) == expected


def test_a_mark_is_an_upright_line_with_its_words() -> None:
    (axes,) = panels_figure([Plot("", (Line("", (0, 1), (0, 1)),), marks=((0.5, "here"),), log_y=False)]).axes

    assert list(axes.lines[1].get_xdata()) == [0.5, 0.5]
    assert [text.get_text() for text in axes.texts] == ["here"]


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["a$b_$", "_conv_stem", "$x$"])
def test_names_marks_and_notes_are_written_as_they_are(name: str) -> None:
    line = Line(name, (0, 1), (0, 1), BLUE, "steps")
    plot = Plot(name, (line, Line("", (0, 1), (1, 0))), marks=((0.5, name),))
    figure = panels_figure([plot, ImagePlot(name, GREY.pixels, note=name), Bars(name, (name,), (1.0,))])
    figure.canvas.draw()

    first, second, _ = figure.axes
    legend = first.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [name]
    (handle,) = legend.legend_handles
    assert isinstance(handle, Line2D)
    assert handle.get_color() == BLUE
    for text in (*legend.get_texts(), *first.texts, second.xaxis.label):
        assert text.get_text() == name
        assert not text.get_parse_math()


@pytest.mark.parametrize(
    "panels", [[], [Plot("", (Line("a", (0, 1), (0,)),))], [Plot("", (Line("a", (0,), (0,), BLUE, "wavy"),))]]
)
def test_what_cannot_be_drawn_is_refused(panels: list[Plot]) -> None:
    with pytest.raises(DataError, match="as many x as y"):
        panels_figure(panels)


def test_bars_without_a_bar_are_an_empty_panel() -> None:
    figure = panels_figure([Bars("none", (), ())])
    assert len(figure.axes) == 1
    assert not figure.axes[0].patches
