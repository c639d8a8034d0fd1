"""Loss curves: every loss at its epoch, whatever is missing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from headstart.errors import TrainingError
from headstart.figures.loss_curves import losses_figure
from headstart.figures.style import BLUE, ORANGE


def test_both_curves_have_the_books_names_colours_and_scale() -> None:
    figure = losses_figure([np.float64(3.0), 2.0, 1.0], [3.5, 2.5, 2.0])
    axes = figure.axes[0]
    assert figure.get_size_inches().tolist() == [10, 4]

    drawn = {line.get_label(): (line.get_color(), [*line.get_xdata()], [*line.get_ydata()]) for line in axes.lines}
    assert drawn == {
        "Training Loss": (BLUE, [0, 1, 2], [3, 2, 1]),
        "Validation Loss": (ORANGE, [0, 1, 2], [3.5, 2.5, 2]),
    }
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_yscale()) == ("Epochs", "Loss", "log")
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["Training Loss", "Validation Loss"]


def test_epochs_without_validation_are_gaps_and_a_curve_of_gaps_is_not_drawn() -> None:
    lines = losses_figure([3.0, 2.0, 1.0], [None, 2.5, None]).axes[0].lines
    assert [math.isnan(value) for value in lines[1].get_ydata()] == [True, False, True]

    axes = losses_figure([3.0, 2.0], [None, None]).axes[0]
    assert [line.get_label() for line in axes.lines] == ["Training Loss"]


def test_losses_at_or_below_zero_are_drawn_on_a_plain_scale() -> None:
    axes = losses_figure([1.0, 0.0, -1.0]).axes[0]
    assert axes.get_yscale() == "linear"
    assert axes.get_ylim()[0] < -1


@pytest.mark.slow
@pytest.mark.parametrize("losses", [[0.7], [0.7, 0.7], [0.7, 0.66], [2.0, 0.5], [2.0, 0.01], [2.0, 1e-7]])
def test_the_axes_have_numbers_whatever_the_range_and_epochs_are_whole(losses: list[float]) -> None:
    figure = losses_figure(losses)
    figure.draw_without_rendering()
    axes = figure.axes[0]

    low, high = axes.get_ylim()
    shown = [tick.label1.get_text() for tick in axes.yaxis.get_major_ticks() if low <= tick.get_loc() <= high]
    assert len([text for text in shown if text]) >= 3
    assert low <= min(losses) <= max(losses) <= high
    left, right = axes.get_xlim()
    epochs = [tick for tick in axes.get_xticks() if left <= tick <= right]
    assert epochs
    assert all(tick == int(tick) for tick in epochs)
    assert axes.lines[0].get_marker() == "o"  # one epoch alone is no line


def test_it_draws_on_the_users_axes_too() -> None:
    outer = Figure()
    below = outer.subfigures(1, 2)[1].subplots()

    assert losses_figure([2.0, 1.0], ax=below) is outer
    assert len(below.lines) == 1


def test_before_training_there_is_nothing_to_draw() -> None:
    with pytest.raises(TrainingError, match="Call train first"):
        losses_figure([], [])
