"""Rows of images: shapes, common scales, colours and captions."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes

from headstart.errors import TrainingError
from headstart.figures.images import draw_image_row
from headstart.figures.style import new_figure

CHANCE = np.random.default_rng(0)


def _axes(number: int) -> np.ndarray:
    axes: np.ndarray = new_figure(300, 100).subplots(1, number, squeeze=False)[0]
    return axes


def _shades(axes: Axes) -> np.ndarray:
    """What is seen: greys or colours in [0, 1]."""
    image = axes.images[0]
    values = np.asarray(image.get_array(), dtype=float)
    return values if values.ndim == 3 else np.asarray(image.norm(values))


@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 1, 4, 5)])
def test_maps_are_grey_on_one_scale_for_the_row(shape: tuple[int, ...]) -> None:
    maps = CHANCE.normal(size=shape)
    axs = _axes(3)
    draw_image_row(axs, maps)

    expected = (maps.reshape(3, 4, 5) - maps.min()) / (maps.max() - maps.min())
    for place in range(3):
        assert _shades(axs[place]) == pytest.approx(expected[place])
        assert axs[place].images[0].get_cmap().name == "gray"


@pytest.mark.parametrize("last", [False, True])
def test_images_of_three_channels_are_drawn_in_their_colours(last: bool) -> None:
    """D22: the book's class fails on them."""
    colours = CHANCE.uniform(size=(2, 3, 6, 5))
    axs = _axes(2)
    draw_image_row(axs, colours.transpose(0, 2, 3, 1) if last else colours)

    assert _shades(axs[1]) == pytest.approx(colours[1].transpose(1, 2, 0))


def test_bytes_and_normalised_pixels_are_drawn_as_colours_too() -> None:
    bytes_ = CHANCE.integers(0, 256, (2, 3, 4, 4), dtype=np.uint8)
    axs = _axes(2)
    draw_image_row(axs, bytes_)
    assert _shades(axs[0]) == pytest.approx(bytes_[0].transpose(1, 2, 0) / 255)

    normalised = CHANCE.normal(size=(2, 3, 4, 4))
    axs = _axes(2)
    draw_image_row(axs, normalised)
    expected = (normalised - normalised.min()) / (normalised.max() - normalised.min())
    assert _shades(axs[0]) == pytest.approx(expected[0].transpose(1, 2, 0))


def test_a_grey_image_of_bytes_keeps_its_greys() -> None:
    axs = _axes(2)
    draw_image_row(axs, np.array([[[0, 255]], [[51, 51]]], dtype=np.uint8))
    assert _shades(axs[1]).tolist() == [[0.2, 0.2]]


def test_vectors_are_strips_and_an_even_row_is_grey() -> None:
    axs = _axes(2)
    draw_image_row(axs, np.array([[0.0, 1.0, 2.0], [2.0, 2.0, 0.0]]), layer_name="fc")
    assert _shades(axs[0]).tolist() == [[0, 0.5, 1]]
    assert axs[0].get_aspect() == "auto"
    assert axs[0].get_ylabel() == "fc\n1×3"

    draw_image_row(axs := _axes(1), np.zeros((1, 2, 2)))
    assert (_shades(axs[0]) == 0.5).all()


def test_words_stand_where_they_belong_and_are_no_formulas() -> None:
    axs = _axes(3)
    labels, answers = ["$x_2$", "b\x07", "c"], np.array([[0.25], [1.0], [2.0]])
    draw_image_row(axs, np.zeros((3, 2, 2)), y=labels, yhat=answers, layer_name="conv1", title="Image")

    assert [axes.get_title() for axes in axs] == ["Image #0", "Image #1", "Image #2"]
    assert axs[0].get_xlabel() == "Label: $x_2$\nPredicted: 0.25"
    assert axs[1].get_xlabel() == "Label: b\\x07\nPredicted: 1"
    assert [axes.get_ylabel() for axes in axs] == ["conv1\n2×2", "", ""]
    texts = [text for axes in axs for text in (axes.title, axes.xaxis.label, axes.yaxis.label) if text.get_text()]
    assert not any(text.get_parse_math() for text in texts)
    axs[0].figure.draw_without_rendering()


def test_axes_beyond_the_last_image_are_empty() -> None:
    axs = _axes(4)
    draw_image_row(axs, np.zeros((2, 3, 3)), y=["a"])
    assert [axes.axison for axes in axs] == [True, True, False, False]
    assert [axes.get_xlabel() for axes in axs] == ["Label: a", "", "", ""]


@pytest.mark.parametrize("shape", [(2,), (2, 4, 5, 5), (1, 1, 1, 1, 1)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(TrainingError, match="N×3×H×W"):
        draw_image_row(_axes(1), np.zeros(shape))
