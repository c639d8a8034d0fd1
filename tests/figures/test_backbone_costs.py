"""The figure of accuracy over cost: one point and one name for each network."""

from __future__ import annotations

from headstart.figures.backbone_costs import BackbonePoint, backbone_costs_figure
from headstart.figures.style import BLUE, ORANGE


def point(name: str, milliseconds: float, *, advised: bool = False) -> BackbonePoint:
    return BackbonePoint(name=name, milliseconds=milliseconds, accuracy=0.9, low=0.8, high=0.95, is_advised=advised)


def test_each_network_is_a_point_with_its_interval_and_the_advised_one_stands_out() -> None:
    figure = backbone_costs_figure([point("$small", 3.0), point("large", 70.0, advised=True)])
    (axes,) = figure.axes
    intervals, points = axes.lines[::2], axes.lines[1::2]
    assert [list(one.get_xdata()) for one in points] == [[3.0], [70.0]]
    assert [list(one.get_ydata()) for one in intervals] == [[0.8, 0.95]] * 2
    assert [one.get_color() for one in points] == [BLUE, ORANGE]
    assert [text.get_text() for text in axes.texts] == ["$small", "large"]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["5", "10", "20", "50", "100"]
