"""The renderer: the same seed gives the same bits, every kind is as frequent, nothing escapes or is empty."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.pretraining.bank import PART_KINDS, SIDES, TEXTURE_SIDE, draw_bank
from headstart.pretraining.contours import draw_contours
from headstart.pretraining.fractals import draw_fractals, draw_maps, walk
from headstart.pretraining.limbs import draw_limbs
from headstart.pretraining.scene import _blend, draw_pictures, draw_scene
from headstart.pretraining.textures import KINDS, draw_texture, palette
from pretraining.made_bank import small_bank


def test_the_same_seed_draws_the_same_bits_and_another_seed_others() -> None:
    first, again, other = draw_bank(1, parts=2, textures=1), draw_bank(1, parts=2, textures=1), small_bank(2)

    assert all(np.array_equal(a, b) for a, b in zip(first.parts, again.parts, strict=True))
    assert np.array_equal(first.textures, again.textures)
    assert not np.array_equal(first.parts[0][:2], other.parts[0][:2])
    assert np.array_equal(draw_pictures(first, 7, 3, 48), draw_pictures(again, 7, 3, 48))
    assert not np.array_equal(draw_pictures(first, 7, 3, 48), draw_pictures(first, 8, 3, 48))


def test_every_kind_is_as_frequent_as_the_others() -> None:
    bank = small_bank()

    assert np.bincount(bank.part_kinds).tolist() == [4] * len(PART_KINDS)
    assert np.bincount(bank.texture_kinds).tolist() == [1] * len(KINDS)
    assert [part.shape for part in bank.parts] == [(12, 2, side, side) for side in SIDES]
    assert bank.textures.shape == (6, 3, TEXTURE_SIDE, TEXTURE_SIDE)


def test_scenes_take_parts_and_textures_evenly() -> None:
    bank, rng = small_bank(), np.random.default_rng(0)
    scenes = [draw_scene(bank, rng, 32) for _ in range(600)]

    things = [thing for scene in scenes for thing in scene.things]
    kinds = np.bincount(bank.part_kinds[[thing.part for thing in things]]) / len(things)
    backgrounds = np.bincount([scene.background for scene in scenes]) / len(scenes)

    assert len(things) / len(scenes) == pytest.approx(3.5, abs=0.25)  # one to six; the mean's error is 0.07
    assert kinds == pytest.approx(1 / 3, abs=0.04)
    assert backgrounds == pytest.approx(1 / 6, abs=0.06)
    assert {thing.side for thing in things} == set(SIDES)


@pytest.mark.parametrize("seed", range(30))
def test_every_map_of_a_fractal_shrinks_and_no_point_escapes(seed: int) -> None:
    rng = np.random.default_rng(seed)

    maps, shifts = draw_maps(rng)
    points = walk(rng, maps, shifts)

    largest = np.linalg.svd(maps.astype(np.float64), compute_uv=False).max()
    # an attractor lies within |shift| / (1 - s) of the origin; walkers begin within 0.71
    bound = np.linalg.norm(shifts, axis=1).max() / (1 - largest) + 0.71
    assert largest < 1
    assert np.isfinite(points).all()
    assert np.linalg.norm(points, axis=1).max() <= bound


@pytest.mark.parametrize("draw", [draw_contours, draw_fractals, draw_limbs])
def test_parts_are_finite_within_their_range_and_neither_empty_nor_the_whole_square(draw) -> None:  # type: ignore[no-untyped-def]
    parts = draw(np.random.default_rng(5), 20, 48)

    for values in (parts.alpha, parts.relief):
        assert values.shape == (20, 48, 48)
        assert np.isfinite(values).all()
        assert values.min() >= 0
        assert values.max() <= 1
    covered = parts.alpha.mean((1, 2))
    assert covered.min() > 0.002
    assert covered.max() < 0.95


@pytest.mark.parametrize("kind", KINDS)
def test_textures_are_finite_and_not_flat(kind: str) -> None:
    texture = draw_texture(np.random.default_rng(4), kind, 64)

    assert texture.shape == (64, 64, 3)
    assert texture.dtype == np.float32
    assert np.isfinite(texture).all()
    assert texture.min() >= 0
    assert texture.max() <= 1
    assert texture.std((0, 1)).max() > 0.01


def test_a_part_is_blended_where_it_overlaps_and_cut_off_elsewhere() -> None:
    canvas = np.zeros((3, 4, 4), np.float32)
    alpha = np.full((3, 3), 0.5, np.float32)

    _blend(canvas, alpha, np.full((3, 3, 3), 100, np.float32), left=-1, top=2)

    expected = np.zeros((4, 4))
    expected[2:, :2] = 50  # columns -1 … 1 and rows 2 … 4 of the square; two of each are inside
    assert np.array_equal(canvas, np.broadcast_to(expected, (3, 4, 4)))
    _blend(canvas, alpha, None, left=4, top=0)  # wholly outside
    assert canvas.sum() == 3 * 4 * 50


def test_colours_stay_in_range_and_most_are_dull() -> None:
    colours = palette(np.random.default_rng(0), 2000)

    spread = colours.max(1) - colours.min(1)
    assert colours.min() >= 0
    assert colours.max() <= 1
    assert np.median(spread) < 0.25 < np.quantile(spread, 0.9)
