"""The weight plane: levels even in the logarithm, the model marked in the middle."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.errors import DataError
from headstart.figures.weight_plane import weight_plane_figure

AT = np.linspace(-1, 1, 5)


def test_levels_are_even_in_the_logarithm_and_the_colour_bar_says_losses() -> None:
    losses = 10.0 ** (np.abs(AT)[:, np.newaxis] + np.abs(AT))  # 1 in the middle, 100 in the corners
    figure = weight_plane_figure(AT, losses)

    plane, bar = figure.axes
    levels = plane.collections[0].levels  # type: ignore[attr-defined]
    np.testing.assert_allclose(np.diff(levels), np.diff(levels)[0])
    assert (levels[0], levels[-1]) == pytest.approx((0, 2))
    assert bar.get_yticklabels()[0].get_text() == "1"
    assert (plane.lines[0].get_xdata()[0], plane.lines[0].get_ydata()[0]) == (0, 0)


@pytest.mark.slow
def test_even_losses_can_be_drawn() -> None:
    weight_plane_figure(AT, np.zeros((5, 5))).draw_without_rendering()


@pytest.mark.parametrize("shape", [(5, 4), (2, 2)])
def test_losses_of_another_shape_are_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(DataError, match="losses P×P"):
        weight_plane_figure(AT[: shape[0]], np.ones(shape))
