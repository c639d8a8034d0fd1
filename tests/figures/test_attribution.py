"""Attribution's figure: heat over its own image, on a scale from none to most, training images below."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex

from headstart.errors import DataError
from headstart.figures.attribution import HeatmapPanel, attribution_figure, scaled
from headstart.figures.style import BLUE, ORANGE

IMAGE = np.random.default_rng(0).random((12, 12, 3))


@pytest.mark.slow
def test_heat_lies_over_the_grey_image_and_only_positive_evidence_is_drawn():
    heat = np.linspace(-1, 2, 144).reshape(12, 12)
    figure = attribution_figure("cat: 90 %", [HeatmapPanel("image", IMAGE), HeatmapPanel("map", IMAGE, "note", heat)])
    plain, mapped, legend = figure.axes
    np.testing.assert_array_equal(plain.images[0].get_array(), IMAGE)
    np.testing.assert_allclose(mapped.images[0].get_array(), IMAGE.mean(-1))
    np.testing.assert_allclose(mapped.images[1].get_array(), heat.clip(0) / 2)
    assert [label.get_text() for label in legend.get_yticklabels()] == ["none", "most"]
    assert mapped.get_xlabel() == "note"


def test_training_images_stand_below_in_frames_that_say_whether_they_agree():
    similar = [HeatmapPanel("cat", IMAGE, frame=BLUE), HeatmapPanel("$dog$", IMAGE, frame=ORANGE)]
    figure = attribution_figure(
        "$x$.png", [HeatmapPanel("image", IMAGE)], similar=similar, similar_title="most similar"
    )
    figure.canvas.draw()
    image, *below = figure.axes
    assert [to_hex(axes.spines["left"].get_edgecolor()) for axes in below] == [BLUE, ORANGE]
    assert all(axes.get_position().y1 < image.get_position().y0 for axes in below)


def test_an_empty_map_stays_empty_and_nothing_at_all_is_refused():
    assert scaled(-np.ones((2, 2))).max() == 0
    with pytest.raises(DataError):
        attribution_figure("", [])
