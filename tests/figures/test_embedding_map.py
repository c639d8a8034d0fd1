"""Embedding map: points in the colours of their classes, pictures and names where they belong."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.offsetbox import AnnotationBbox

from headstart.errors import DataError
from headstart.figures.embedding_map import embedding_figure
from headstart.figures.style import SERIES

POINTS = np.array([[0.0, 0.0], [1.0, 2.0], [3.0, 1.0]])


def test_points_thumbnails_and_names_are_where_they_were_given():
    figure = embedding_figure(
        POINTS, axes_names=("x", "y"), labels=[0, 1, 0], classes=("$a$", "b"),
        thumbnails={1: np.ones((4, 4, 3))}, marked={2: "odd_$one$.jpg"},
    )  # fmt: skip
    (axes,) = figure.axes
    np.testing.assert_array_equal(axes.collections[0].get_offsets(), POINTS)
    assert [to_hex(colour) for colour in axes.collections[0].get_facecolors()] == [SERIES[i] for i in (0, 1, 0)]
    (box,) = [artist for artist in axes.artists if isinstance(artist, AnnotationBbox)]
    assert tuple(box.xy) == (1.0, 2.0)
    assert [text.get_text() for text in axes.texts] == ["odd_$one$.jpg"]
    legend = axes.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["$a$", "b"]
    figure.canvas.draw()  # names from outside are no formulas


def test_points_without_their_labels_are_refused():
    with pytest.raises(DataError):
        embedding_figure(POINTS, axes_names=("x", "y"), labels=[0])
