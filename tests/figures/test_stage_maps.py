"""Stage maps: every map is drawn as it was given, and one scale is shared where it is asked for."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.errors import DataError
from headstart.figures.stage_maps import MapRow, stage_maps_figure


def test_maps_stand_in_their_rows_with_names_as_they_are():
    one, two = np.arange(6.0).reshape(2, 3), np.full((4, 4), 7.0)
    rows = [MapRow("stem", "2×3", ("mean", "$x_1$"), (one, one + 1)), MapRow("top", "4×4", ("a",), (two,))]
    figure = stage_maps_figure(np.zeros((8, 8, 3)), "cat $1.png", rows)

    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["cat $1.png", "mean", "$x_1$", "a"]
    np.testing.assert_array_equal(figure.axes[1].images[0].get_array(), one)
    assert figure.axes[1].images[0].get_clim() == (0, 5)
    assert figure.axes[2].images[0].get_clim() == (1, 6)
    figure.canvas.draw()
    boxes = [axes.get_position() for axes in figure.axes]
    assert boxes[0].y0 > boxes[1].y1 > boxes[3].y1
    assert boxes[1].x1 < boxes[2].x0


def test_a_shared_scale_is_that_of_all_maps_of_the_row():
    maps = (np.zeros((2, 2)), np.full((2, 2), 3.0))
    figure = stage_maps_figure(None, "", [MapRow("classes", "", ("a", "b"), maps, shared=True)])
    assert [axes.images[0].get_clim() for axes in figure.axes] == [(0, 3), (0, 3)]


def test_nothing_to_draw_is_refused():
    with pytest.raises(DataError):
        stage_maps_figure(None, "", [])
