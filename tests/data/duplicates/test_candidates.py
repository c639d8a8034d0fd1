"""Candidates come from a perceptual hash that is the cosine transform, and every planted pair is among them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from drawn_scenes import pixels, scene
from headstart.data.duplicates.candidates import contrasts, crop_between, find_candidates, flip, hashes
from headstart.data.image_index import signature_of


def test_flipping_a_hash_is_hashing_the_flipped_image() -> None:
    thumbnails = np.random.default_rng(0).integers(0, 256, (5, 32, 32), np.uint8)
    np.testing.assert_allclose(flip(hashes(thumbnails)), hashes(thumbnails[:, :, ::-1]), atol=1e-5)


def test_a_hash_is_the_cosine_transform_weighted_by_frequency() -> None:
    """Against scipy's transform, coefficient by coefficient."""
    from scipy.fft import dctn

    thumbnail = np.random.default_rng(1).integers(0, 256, (32, 32), np.uint8)
    table = dctn(thumbnail.astype(np.float64), type=2)
    kept = [(v, u) for v in range(7) for u in range(7) if 0 < np.hypot(u, v) < 7]
    expected = np.array([table[v, u] * np.hypot(u, v) for v, u in kept])

    np.testing.assert_allclose(hashes(thumbnail[None])[0], expected / np.linalg.norm(expected), atol=1e-5)


def test_the_crop_between_two_thumbnails_is_the_one_that_was_cut() -> None:
    image = scene(4, (320, 320))
    part = image.crop((16, 8, 304, 316))  # 5 %, 95 %, 2.5 %, 98.75 %
    one, two = (np.frombuffer(signature_of(pixels(i)), np.uint8).reshape(32, 32) for i in (image, part))

    crop = crop_between(one, two, flipped=False)

    assert crop is not None
    np.testing.assert_allclose(crop, [0.05, 0.95, 0.025, 0.9875], atol=0.004)


@pytest.mark.slow
def test_different_scenes_are_not_even_proposed() -> None:
    thumbnails = np.stack(
        [np.frombuffer(signature_of(pixels(scene(seed))), np.uint8).reshape(32, 32) for seed in range(60)]
    )
    assert len(find_candidates(thumbnails).pairs) == 0


@pytest.mark.slow
def test_planted_pairs_are_found_among_two_thousand_images_and_few_others() -> None:
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=(2_000, 6, 6)).astype(np.float32)
    thumbnails = np.stack(
        [np.asarray(Image.fromarray(one).resize((32, 32), Image.Resampling.BICUBIC)) for one in coarse]
    )
    grey = (128 + 40 * thumbnails).clip(0, 255).astype(np.uint8)
    grey[1000:1100] = (grey[:100] + rng.normal(0, 3, (100, 32, 32))).clip(0, 255).astype(np.uint8)

    pairs = {tuple(pair) for pair in find_candidates(grey).pairs.tolist()}

    assert sum((i, 1000 + i) in pairs for i in range(100)) == 100
    assert len(pairs) < 20_000  # of 2 million


def test_contrasts_are_the_standard_deviations_of_all_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.data.duplicates.candidates._AT_ONCE", 3)
    grey = np.random.default_rng(0).integers(0, 256, (8, 5, 5), dtype=np.uint8)

    np.testing.assert_allclose(contrasts(grey), [one.std() for one in grey])
    assert contrasts(grey[:0]).shape == (0,)
