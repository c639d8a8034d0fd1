"""The bars of a hand: all parts are there, and a view rotates, scales and moves them."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.datasets.hand_shapes import Build, Pose, View, build_hand, extent, place, unit, vector

BUILD = Build(
    finger_lengths=(1.0, 1.0, 1.0, 1.0), thickness=1.0, palm_width=1.0, nail=1.0, sleeve_from=0.5, sleeve_radius=0.3
)
STRAIGHT = Pose(
    spread=np.zeros(4, np.float32),
    bend=np.zeros((4, 3), np.float32),
    thumb=np.array([(0.3, 0.1, 0.1), (0.5, 0.4, 0.1), (0.7, 0.7, 0.1), (0.9, 0.9, 0.1)], np.float32),
    thumb_back=vector(0, 0, -1),
    wrist=(0.0, 0.0),
)


def test_a_hand_has_palm_four_fingers_of_three_bones_thumb_and_sleeve() -> None:
    parts = build_hand(BUILD, STRAIGHT)

    assert list(parts) == ["palm", "finger0", "finger1", "finger2", "finger3", "thumb", "sleeve"]
    assert [len(parts[f"finger{i}"]) for i in range(4)] == [3] * 4
    assert [bar.nail > 0 for bar in parts["finger0"]] == [False, False, True]


def test_a_straight_middle_finger_is_as_long_as_its_bones() -> None:
    finger = build_hand(BUILD, STRAIGHT)["finger1"]

    np.testing.assert_allclose(finger[0].start, (0.12, 1.01, 0.0), atol=1e-6)
    np.testing.assert_allclose(finger[-1].end, (0.12, 1.01 + 0.54 + 0.34 + 0.22, 0.0), atol=1e-6)


def test_a_finger_bent_by_a_right_angle_points_out_of_the_palm() -> None:
    bend = np.zeros((4, 3), np.float32)
    bend[1, 0] = np.pi / 2
    pose = Pose(
        spread=STRAIGHT.spread, bend=bend, thumb=STRAIGHT.thumb, thumb_back=STRAIGHT.thumb_back, wrist=(0.0, 0.0)
    )

    finger = build_hand(BUILD, pose)["finger1"]

    np.testing.assert_allclose(finger[-1].end - finger[0].start, (0, 0, 0.54 + 0.34 + 0.22), atol=1e-6)


def test_a_view_rotates_scales_and_moves_every_bar() -> None:
    parts = build_hand(BUILD, STRAIGHT)
    quarter = np.array([(0, -1, 0), (1, 0, 0), (0, 0, 1)], np.float32)

    placed = place(parts, View(rotation=quarter, scale=10.0, origin=vector(5, 7), side=64))

    before, after = parts["finger1"][0], placed["finger1"][0]
    np.testing.assert_allclose(after.start, (5 - 10 * before.start[1], 7 + 10 * before.start[0], 0), atol=1e-4)
    assert after.radii == pytest.approx([10 * radius for radius in before.radii])
    (low, high), (low_before, high_before) = extent(placed), extent(parts)
    np.testing.assert_allclose(high - low, 10 * (high_before - low_before)[[1, 0, 2]], rtol=1e-5)


def test_a_unit_vector_has_length_one() -> None:
    np.testing.assert_allclose(unit(vector(3, 0, 4)), (0.6, 0, 0.8), atol=1e-6)
