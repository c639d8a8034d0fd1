"""The range test's picture: all points, the suggestion where it is, and the words above."""

from __future__ import annotations

import dataclasses

import pytest
from matplotlib.figure import Figure

from headstart.figures.lr_range import LrCurve, lr_range_figure

CURVE = LrCurve(
    rates=(0.01, 0.1, 1.0, 10.0),
    losses=(2.0, 1.5, 1.0, 1.2),
    corrected=(2.0, 1.4, 0.9, 1.1),
    raw=(2.0, 1.0, 0.5, 1.4),
    suggestion=0.3,
    low=0.1,
    high=1.0,
    log=True,
    sentence="Try 0.3.",
)


def test_the_curves_of_the_first_group_are_drawn_with_the_suggestion() -> None:
    axes = lr_range_figure(CURVE).axes[0]

    drawn = {line.get_label(): ([*line.get_xdata()], [*line.get_ydata()]) for line in axes.lines}
    rates = [0.01, 0.1, 1.0, 10.0]
    assert drawn == {
        "single batches": (rates, [2.0, 1.0, 0.5, 1.4]),
        "smoothed as in the book": (rates, [2.0, 1.5, 1.0, 1.2]),
        "smoothed": (rates, [2.0, 1.4, 0.9, 1.1]),
        "suggestion 0.3": ([0.3, 0.3], [0, 1]),
    }
    band = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    assert (band.x0, band.x1) == pytest.approx((0.1, 1.0))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Learning Rate", "Loss")
    assert axes.get_title() == "Try 0.3."


@pytest.mark.parametrize(("log", "scale"), [(True, "log"), (False, "linear")])
def test_the_scale_is_that_of_the_test(log: bool, scale: str) -> None:
    assert lr_range_figure(dataclasses.replace(CURVE, log=log)).axes[0].get_xscale() == scale


def test_without_a_suggestion_there_is_no_mark() -> None:
    axes = lr_range_figure(dataclasses.replace(CURVE, suggestion=None, low=None, high=None)).axes[0]
    assert not axes.patches
    assert len(axes.lines) == 3


def test_losses_beyond_divergence_do_not_press_the_curve_flat() -> None:
    axes = lr_range_figure(
        dataclasses.replace(CURVE, raw=(2.0, 1.0, 0.5, 5e6), losses=(2.0, 1.5, 1.0, 3e5), corrected=(2, 1.4, 0.9, 9e5))
    ).axes[0]
    low, high = axes.get_ylim()
    assert low < 0.5
    assert 2 < high < 5


@pytest.mark.slow
def test_a_test_without_points_is_drawn_with_its_sentence() -> None:
    nothing = {"losses": (), "corrected": (), "raw": (), "rates": (), "suggestion": None, "low": None, "high": None}
    figure = lr_range_figure(dataclasses.replace(CURVE, **nothing, sentence="No suggestion: no number."))
    figure.draw_without_rendering()
    assert figure.axes[0].get_title() == "No suggestion: no number."


def test_it_draws_on_the_users_axes_and_breaks_its_words_to_their_width() -> None:
    figure = Figure(figsize=(4, 3))
    axes = figure.subplots(1, 2)[1]

    assert lr_range_figure(dataclasses.replace(CURVE, sentence="words " * 20), ax=axes) is figure
    assert max(map(len, axes.get_title().split("\n"))) <= 24
