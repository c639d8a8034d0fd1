"""The reliability diagram: a dot, an interval and a count for each bin, and the diagonal of a perfect model."""

from __future__ import annotations

import dataclasses

import pytest

from headstart.errors import DataError
from headstart.figures.reliability import ReliabilityPoint, reliability_figure

POINTS = (
    ReliabilityPoint(low=0.4, high=0.6, count=10, confidence=0.52, accuracy=0.4, accuracy_low=0.17, accuracy_high=0.69),
    ReliabilityPoint(
        low=0.8, high=1.0, count=40, confidence=0.95, accuracy=0.975, accuracy_low=0.87, accuracy_high=0.996
    ),
)


def test_a_reliability_diagram_has_a_dot_an_interval_and_a_count_for_each_bin() -> None:
    upper, lower = reliability_figure(POINTS).axes

    dots = [tuple(collection.get_offsets()[0]) for collection in upper.collections]
    assert dots == [pytest.approx((0.52, 0.4)), pytest.approx((0.95, 0.975))]
    lines = [(line.get_xdata()[0], *line.get_ydata()) for line in upper.lines[1:]]
    assert lines == [(0.52, 0.17, 0.69), (0.95, 0.87, 0.996)]
    assert [text.get_text() for text in lower.texts] == ["10", "40"]
    assert [bar.get_height() for bar in lower.patches] == [10, 40]


def test_the_area_of_a_dot_grows_with_its_images() -> None:
    sizes = [collection.get_sizes()[0] for collection in reliability_figure(POINTS).axes[0].collections]

    assert sizes[1] - 16 == pytest.approx(4 * (sizes[0] - 16))


def test_the_line_of_a_perfect_model_is_the_diagonal() -> None:
    line = reliability_figure(POINTS).axes[0].lines[0]

    assert list(line.get_xdata()) == list(line.get_ydata()) == [0, 1]


@pytest.mark.parametrize("points", [(), (dataclasses.replace(POINTS[0], confidence=float("nan")),)])
def test_nothing_to_draw_is_refused(points: tuple[ReliabilityPoint, ...]) -> None:
    with pytest.raises(DataError, match="bins with shares"):
        reliability_figure(points)
