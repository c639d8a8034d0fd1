"""Colours, lamps, backdrops and the camera of a drawn hand."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.datasets.hand_scene import backdrop, between, lamp, photograph, soft_noise


def test_a_colour_between_two_is_linear_light() -> None:
    colours = ((255, 0, 0), (0, 255, 0), (0, 0, 255))

    np.testing.assert_allclose(between(colours, 0.0), (1, 0, 0), atol=1e-6)
    np.testing.assert_allclose(between(colours, 1.0), (0, 0, 1), atol=1e-6)
    np.testing.assert_allclose(between(colours, 0.25), (0.25, 0.25, 0), atol=1e-6)  # half of sRGB, squared


@pytest.mark.parametrize("seed", range(6))
def test_a_lamp_is_above_and_in_front_with_a_direction_of_length_one(seed: int) -> None:
    light = lamp(np.random.default_rng(seed))

    assert np.linalg.norm(light.towards) == pytest.approx(1, abs=1e-5)
    assert light.towards[1] < 0 < light.towards[2]  # y points down
    assert (light.lamp > 0).all()
    assert (light.ambient > 0).all()


@pytest.mark.parametrize("seed", range(12))
def test_every_kind_of_backdrop_is_a_finite_picture(seed: int) -> None:
    wall = backdrop(np.random.default_rng(seed), 48)

    assert wall.shape == (3, 48, 48)
    assert np.isfinite(wall).all()
    assert -0.1 < wall.min() <= wall.max() < 1.5


def test_soft_noise_is_smooth_and_around_zero() -> None:
    noise = soft_noise(np.random.default_rng(0), 128, 8)

    assert abs(noise.mean()) < 0.5
    assert np.abs(np.diff(noise, axis=1)).max() < 0.5 * (noise.max() - noise.min())


def test_a_photograph_has_the_size_of_the_camera_and_about_the_colours_of_the_scene() -> None:
    grey = np.full((3, 96, 96), 0.5, np.float32)

    image = photograph(grey, 48, np.random.default_rng(0))

    assert (image.mode, image.size) == ("RGB", (48, 48))
    assert 90 < np.asarray(image).mean() < 140
