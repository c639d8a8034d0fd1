"""Filters: grey is zero, all on one scale, in colour for three channels, and never too many."""

from __future__ import annotations

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from headstart.errors import TrainingError
from headstart.figures.filters import filters_figure

CHANCE = np.random.default_rng(1)


def _seen(figure: Figure, row: int, column: int, shape: tuple[int, int], *, opacity: bool = False) -> np.ndarray:
    """Colours H×W×3 (or opacity H×W) of one filter, read at the middle of each of its weights."""
    axes = figure.axes[0]
    image = axes.images[0]
    colours, (left, _, bottom, top) = np.asarray(image.get_array()), image.get_extent()
    between = np.diff(axes.get_yticks())
    pitch = between[0] if len(between) else bottom - top
    gap = pitch - shape[0]
    dots = colours.shape[0] / (bottom - top)
    ys = ((row * pitch + np.arange(shape[0]) + 0.5 - top) * dots).astype(int)
    xs = ((column * (shape[1] + gap) + np.arange(shape[1]) + 0.5 - left) * dots).astype(int)
    found: np.ndarray = colours[np.ix_(ys, xs)]
    return found[..., 3] if opacity else found[..., :3]


def _ticks(figure: Figure, axis: str) -> list[str]:
    return [tick.get_text() for tick in getattr(figure.axes[0], f"get_{axis}ticklabels")()]


def test_each_filter_has_a_row_and_each_channel_a_column_on_one_symmetric_scale() -> None:
    weights = CHANCE.normal(size=(3, 2, 4, 5)).astype(np.float32)
    weights[1, 0, 0, 0] = -8
    figure = filters_figure(weights, "conv2")

    for row in range(3):
        for channel in range(2):
            grey = 0.5 + weights[row, channel] / 16
            assert _seen(figure, row, channel, (4, 5)) == pytest.approx(np.stack([grey] * 3, axis=-1))
    assert _ticks(figure, "y") == ["Filter #0", "Filter #1", "Filter #2"]
    assert _ticks(figure, "x") == ["#0", "#1"]
    assert figure.axes[0].get_xlabel() == "Channel"
    assert figure.get_suptitle() == "conv2: 3 filters 4×5 on 2 channels\nGrey is 0, white 8, black -8."


def test_filters_of_three_channels_are_colours_in_which_grey_is_zero() -> None:
    weights = np.zeros((11, 3, 2, 2))
    weights[9, 0, 0, 1], weights[9, 2, 0, 1] = 0.5, -0.25
    figure = filters_figure(weights)

    colours = _seen(figure, 1, 1, (2, 2))  # the tenth: eight in a row
    assert colours[0, 1].tolist() == [1.0, 0.5, 0.25]
    assert (colours[1] == 0.5).all()
    assert (_seen(figure, 1, 2, (2, 2)) == 0.5).all()
    assert (_seen(figure, 1, 3, (2, 2), opacity=True) == 0).all()  # there is no twelfth
    assert _ticks(figure, "y") == ["#0 to #7", "#8 to #10"]
    assert "in each colour" in figure.get_suptitle()


def test_filters_of_one_channel_are_greys_in_reading_order() -> None:
    weights = CHANCE.normal(size=(9, 1, 3, 3))
    figure = filters_figure(weights)

    most = np.abs(weights).max()
    for place, kernel in enumerate(weights):
        grey = 0.5 + kernel[0] / (2 * most)
        assert _seen(figure, place // 8, place % 8, (3, 3))[..., 1] == pytest.approx(grey)
    assert _ticks(figure, "y") == ["#0 to #7", "#8"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "places", "words"),
    [
        ((512, 512, 3, 3), (16, 16), "Drawn are the first 16 filters and 16 channels."),
        ((20, 4, 3, 3), (16, 4), "Drawn are the first 16 filters."),
        ((4, 20, 1, 1), (4, 16), "Drawn are the first 16 channels."),
        ((768, 3, 16, 16), (8, 0), "Drawn are the first 64 filters."),
    ],
)
def test_a_large_layer_is_drawn_in_part_and_the_title_says_so(
    shape: tuple[int, ...], places: tuple[int, int], words: str
) -> None:
    """D21: 512×512 filters made a figure of 1026 × 1024 inches."""
    figure = filters_figure(np.broadcast_to(np.float32(0.1), shape), "layer")
    assert (len(_ticks(figure, "y")), len(_ticks(figure, "x"))) == places
    assert words in figure.get_suptitle()
    assert max(figure.get_size_inches()) < 12


def test_the_user_may_ask_for_other_bounds() -> None:
    figure = filters_figure(np.ones((40, 9, 1, 1)), max_filters=20, max_channels=3)
    assert (len(_ticks(figure, "y")), len(_ticks(figure, "x"))) == (20, 3)


def test_weights_of_zero_are_grey_and_other_shapes_are_refused() -> None:
    assert (_seen(filters_figure(np.zeros((1, 2, 3, 3))), 0, 0, (3, 3)) == 0.5).all()
    for weights in (np.ones((3, 3)), np.ones((0, 1, 3, 3))):
        with pytest.raises(TrainingError, match="filters×channels"):
            filters_figure(weights)
    with pytest.raises(TrainingError, match="filters×channels"):
        filters_figure(np.ones((1, 1, 3, 3)), max_filters=0)


def test_a_name_is_no_formula_and_pyplot_knows_of_no_figure() -> None:
    figure = filters_figure(np.ones((1, 1, 2, 2)), "$a_{b")
    figure.draw_without_rendering()
    assert figure.get_suptitle().startswith("$a_{b: 1 filter ")
    assert plt.get_fignums() == []


def test_a_colour_map_colours_each_channel_with_zero_in_its_middle() -> None:
    weights = CHANCE.normal(size=(2, 3, 4, 4))
    figure = filters_figure(weights, cmap="coolwarm")
    most = np.abs(weights).max()
    for row in range(2):
        for channel in range(3):
            expected = matplotlib.colormaps["coolwarm"](0.5 + weights[row, channel] / (2 * most))[..., :3]
            assert _seen(figure, row, channel, (4, 4)) == pytest.approx(expected)
    assert _ticks(figure, "x") == ["#0", "#1", "#2"]
    assert "The middle of the colour map is 0" in figure.get_suptitle()
    one = filters_figure(weights[:, :1], cmap=matplotlib.colormaps["coolwarm"])
    assert _ticks(one, "y") == ["#0 to #1"]
    with pytest.raises(TrainingError, match=r"Did you mean .*coolwarm"):
        filters_figure(weights, cmap="colwarm")


def test_filters_of_one_and_three_channels_by_channel_are_rows_of_greys() -> None:
    weights = CHANCE.normal(size=(5, 3, 2, 2))
    for number in (1, 3):
        figure = filters_figure(weights[:, :number], by_channel=True)
        most = np.abs(weights[:, :number]).max()
        for row in range(5):
            for channel in range(number):
                grey = 0.5 + weights[row, channel] / (2 * most)
                assert _seen(figure, row, channel, (2, 2))[..., 2] == pytest.approx(grey)
        assert len(_ticks(figure, "y")) == 5
