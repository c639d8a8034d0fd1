"""Style: names that stay names, colours that can be told apart, figures on white."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from headstart.figures.style import (
    CSS_VARIABLES,
    MUTED,
    SERIES,
    axes_at,
    figure_and_axes,
    new_figure,
    series_color,
    shorten,
)


def test_long_names_keep_their_beginning_and_their_end() -> None:
    assert shorten("short") == "short"
    assert shorten("golden retriever number 17") == "golden retri…er 17"
    assert len(shorten("x" * 500)) == 18


def test_a_figure_is_as_large_as_asked_and_white() -> None:
    figure = new_figure(320, 240)

    assert tuple(figure.get_size_inches() * 72) == (320, 240)
    assert figure.get_facecolor() == (1, 1, 1, 1)


def test_axes_stand_where_they_were_placed_in_points() -> None:
    figure = new_figure(400, 200)

    assert axes_at(figure, (40, 50, 100, 20)).get_position().bounds == pytest.approx((0.1, 0.25, 0.25, 0.1))


def test_series_have_different_colours_and_those_beyond_are_grey() -> None:
    assert len({series_color(number) for number in range(len(SERIES))}) == len(SERIES)
    assert series_color(len(SERIES)) == MUTED
    assert set(SERIES) < set(CSS_VARIABLES)


def test_axes_given_by_the_user_are_drawn_on_and_else_made() -> None:
    outer = Figure(figsize=(4, 3))
    axes = outer.subfigures(1, 2)[1].subplots()

    assert figure_and_axes(axes, 10, 10) == (outer, axes)
    made, new = figure_and_axes(None, 144, 72)
    assert new.figure is made
    assert tuple(made.get_size_inches()) == (2, 1)
