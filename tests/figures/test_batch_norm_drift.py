"""The figure of the drift: both profiles as given, thumbnails beside their channel."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.figures.batch_norm_drift import DriftProfile, drift_figure

PROFILE = DriftProfile(
    layers=("a", "b", "c"),
    shift=(0.1, 0.4, 0.2),
    high=(0.3, 0.9, 0.5),
    floor=(0.02, 0.03, 0.02),
    variance=((-1.0, 0.0, 1.0),) * 3,
)


def test_both_profiles_are_drawn_as_given():
    left, right = drift_figure(PROFILE).axes
    assert left.lines[0].get_ydata().tolist() == [0.1, 0.4, 0.2]
    assert left.lines[1].get_ydata().tolist() == [0.02, 0.03, 0.02]
    assert right.lines[0].get_ydata().tolist() == [0.0, 0.0, 0.0]


@pytest.mark.slow
def test_each_channel_has_its_images_and_its_name_is_no_formula():
    image = np.zeros((8, 8, 3), np.uint8)
    figure = drift_figure(PROFILE, [("layer$^2$ #3", [image, image]), ("other #1", [image])])
    assert sum(len(axes.images) for axes in figure.axes) == 3
    words = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert any("layer$^2$ #3" in word for word in words)
    figure.draw_without_rendering()


def test_without_layers_a_sentence_says_so():
    figure = drift_figure(DriftProfile(layers=(), shift=(), high=(), floor=(), variance=()))
    assert "no batch norm" in figure.texts[0].get_text()
