"""The height map of bars is that of the balls along them."""

from __future__ import annotations

import numpy as np

from headstart.datasets.hand_relief import EMPTY, palm_lines, raise_hand
from headstart.datasets.hand_shapes import Bar, View, vector

SIDE = 64
VIEW = View(rotation=np.eye(3, dtype=np.float32), scale=20.0, origin=vector(32, 32), side=SIDE)


def ball(x: float, y: float, radius: float) -> tuple[Bar, ...]:
    return (Bar(vector(x, y, -100), vector(x + 0.5, y, -100), (radius, radius), vector(0, 0, -1)),)


def test_a_finger_is_as_high_as_the_balls_along_it() -> None:
    """A horizontal bar of radius 8 at height 5: at distance d from its axis the ball reaches 5 + √(64 - d²)."""
    corners = {name: ball(3, 3, 2) for name in ("palm", "finger1", "finger2", "finger3", "thumb", "sleeve")}
    finger = (Bar(vector(16, 32, 5), vector(48, 32, 5), (8.0, 8.0), vector(0, 0, -1)),)

    relief = raise_hand({**corners, "finger0": finger}, np.zeros((SIDE, SIDE), np.float32), VIEW)

    distance = np.arange(-7, 8)
    np.testing.assert_allclose(relief.height[32 + distance, 30], 5 + np.sqrt(64 - distance**2), atol=0.01)
    assert relief.is_hand[32, 30]
    assert not relief.is_hand[32, 60]
    assert relief.height[50, 50] == EMPTY


def test_palm_lines_are_on_the_palm_in_zero_to_one() -> None:
    upright = View(rotation=np.diag([1, -1, 1]).astype(np.float32), scale=40.0, origin=vector(32, 56), side=SIDE)

    lines = palm_lines(upright, 1.0)

    assert lines.shape == (SIDE, SIDE)
    assert 0.2 < lines.max() <= 1
    assert lines[:16].max() < 0.01  # above the fingers' joints
    assert lines.min() == 0
