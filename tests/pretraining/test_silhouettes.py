"""Silhouettes: within their range, neither empty nor full, and fractals that do not escape."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.pretraining.silhouettes import attractor, draw_contours, draw_fractals, draw_limbs, draw_maps, soft_edge


@pytest.mark.parametrize("seed", range(30))
def test_every_map_of_a_fractal_shrinks_and_no_point_escapes(seed: int) -> None:
    rng = np.random.default_rng(seed)

    maps, shifts = draw_maps(rng)
    points = attractor(rng, maps, shifts)

    largest = np.linalg.svd(maps.astype(np.float64), compute_uv=False).max()
    # an attractor lies within |shift| / (1 - s) of the origin; walkers begin within 0.71
    bound = np.linalg.norm(shifts, axis=1).max() / (1 - largest) + 0.71
    assert largest < 1
    assert np.isfinite(points).all()
    assert np.linalg.norm(points, axis=1).max() <= bound


@pytest.mark.parametrize("draw", [draw_contours, draw_fractals, draw_limbs])
def test_silhouettes_are_finite_within_their_range_and_neither_empty_nor_the_whole_square(draw) -> None:  # type: ignore[no-untyped-def]
    drawn = draw(np.random.default_rng(5), 20, 48)

    for values in (drawn.alpha, drawn.relief):
        assert values.shape == (20, 48, 48)
        assert np.isfinite(values).all()
        assert values.min() >= 0
        assert values.max() <= 1
    covered = drawn.alpha.mean((1, 2))
    assert covered.min() > 0.002
    assert covered.max() < 0.95


def test_an_edge_is_half_covered_where_the_distance_is_zero() -> None:
    distance = np.tile(np.array([-1.0, 0.0, 1.0], np.float32), (3, 1))

    assert soft_edge(distance).tolist() == [[1.0, 0.5, 0.0]] * 3
