"""Scenes: silhouettes and textures are taken evenly and blended where they overlap."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.pretraining.bank import SIDES
from headstart.pretraining.scene import blend, draw_pictures, draw_scene
from pretraining.made_bank import small_bank


@pytest.mark.slow
def test_the_same_seed_draws_the_same_bits_and_another_seed_others() -> None:
    first, again, other = (draw_pictures(small_bank(), seed=seed, count=3, size=48) for seed in (7, 7, 8))

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.slow
def test_scenes_take_silhouettes_and_textures_evenly() -> None:
    bank, rng = small_bank(), np.random.default_rng(0)
    scenes = [draw_scene(bank, rng, 32) for _ in range(600)]

    objects = [one for scene in scenes for one in scene.objects]
    kinds = np.bincount(bank.silhouette_kinds[[one.silhouette for one in objects]]) / len(objects)
    backgrounds = np.bincount([scene.background for scene in scenes]) / len(scenes)

    assert len(objects) / len(scenes) == pytest.approx(3.5, abs=0.25)  # one to six; the mean's error is 0.07
    assert kinds == pytest.approx(1 / 3, abs=0.04)
    assert backgrounds == pytest.approx(1 / 6, abs=0.06)
    assert {one.side for one in objects} == set(SIDES)


def test_a_square_isblended_where_it_overlaps_and_cut_off_elsewhere() -> None:
    canvas = np.zeros((3, 4, 4), np.float32)
    alpha = np.full((3, 3), 0.5, np.float32)

    blend(canvas, alpha, np.full((3, 3, 3), 100, np.float32), corner=(-1, 2))

    expected = np.zeros((4, 4))
    expected[2:, :2] = 50  # columns -1 … 1 and rows 2 … 4 of the square; two of each are inside
    assert np.array_equal(canvas, np.broadcast_to(expected, (3, 4, 4)))
    blend(canvas, alpha, None, corner=(4, 0))  # wholly outside
    assert canvas.sum() == 3 * 4 * 50
