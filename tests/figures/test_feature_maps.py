"""Feature maps of layers: a row per channel, a column per image, and what is left out is said."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes

from headstart.errors import TrainingError
from headstart.figures.feature_maps import feature_maps_figure

CHANCE = np.random.default_rng(0)


def _shades(axes: Axes) -> np.ndarray:
    image = axes.images[0]
    return np.asarray(image.norm(np.asarray(image.get_array(), dtype=float)))


def test_each_channel_has_a_row_and_each_image_a_column() -> None:
    maps, vectors = CHANCE.normal(size=(5, 2, 4, 4)), CHANCE.normal(size=(5, 7))
    figure = feature_maps_figure({"conv": maps, "fc": vectors}, n_images=3, y=[7, 8, 9, 7, 8], yhat=[1, 2, 3, 4, 5])

    grid = np.array(figure.axes).reshape(3, 3)
    for channel in range(2):
        row = maps[:3, channel]
        for image in range(3):
            expected = (row[image] - row.min()) / (row.max() - row.min())
            assert _shades(grid[channel, image]) == pytest.approx(expected)
    assert [axes.get_ylabel() for axes in grid[:, 0]] == ["conv\nfil#0\n4×4", "conv\nfil#1\n4×4", "fc\n1×7"]
    assert [axes.get_title() for axes in grid[:, 1]] == ["Image #1", "", ""]
    assert [axes.get_xlabel() for axes in grid[:, 2]] == ["", "", "Label: 9\nPredicted: 3"]
    assert figure.get_suptitle() == ""


def test_rows_are_bounded_and_what_is_left_out_is_said() -> None:
    figure = feature_maps_figure({"layer4": np.zeros((2, 512, 7, 7)), "": np.zeros((2, 3, 4, 4))}, max_channels=4)

    assert len(figure.axes) == (4 + 3) * 2
    assert figure.get_suptitle().replace("\n", " ") == "Not drawn: 508 of 512 channels of layer4."
    assert max(figure.get_size_inches()) < 12
    assert figure.axes[8].get_ylabel().startswith("the model")


def test_fewer_images_than_columns_make_fewer_columns() -> None:
    assert len(feature_maps_figure({"a": np.zeros((2, 1, 3, 3)), "b": np.zeros((3, 4))}).axes) == 2 * 3


def test_outputs_that_cannot_be_drawn_are_refused() -> None:
    for outputs in ({}, {"a": np.zeros((0, 3))}):
        with pytest.raises(TrainingError, match="Run predict first"):
            feature_maps_figure(outputs)
    with pytest.raises(TrainingError, match=r"\(video\)"):
        feature_maps_figure({"video": np.zeros((1, 2, 3, 4, 5))})
