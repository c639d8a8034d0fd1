"""Candidates come from a perceptual hash that is the cosine transform, and every planted pair is among them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from drawn_scenes import pixels, scene
from headstart.data.duplicates.candidates import Thumbnails, crop_between, find_candidates, flip, grey_levels, hashes
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


@pytest.mark.slow
def test_the_crop_between_two_thumbnails_is_the_one_that_was_cut() -> None:
    image = scene(4, (320, 320))
    part = image.crop((16, 8, 304, 316))  # 5 %, 95 %, 2.5 %, 98.75 %
    one, two = (np.frombuffer(signature_of(pixels(i)), np.uint8).reshape(32, 32) for i in (image, part))

    crop = crop_between(np.stack([one, two]), 0, 1, flipped=False)

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


def test_grey_levels_are_those_of_all_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.data.duplicates.candidates._AT_ONCE", 3)
    grey = np.random.default_rng(0).integers(0, 256, (8, 5, 5), dtype=np.uint8)

    means, contrasts = grey_levels(grey)

    np.testing.assert_allclose(means, [one.mean() for one in grey])
    np.testing.assert_allclose(contrasts, [one.std() for one in grey])
    assert [part.shape for part in grey_levels(grey[:0])] == [(0,), (0,)]


def test_stacked_signatures_are_the_array_and_only_chosen_rows_are_compared() -> None:
    rng = np.random.default_rng(2)
    grey = rng.integers(0, 256, (6, 32, 32), dtype=np.uint8)
    grey[4], grey[5] = grey[1], grey[1]
    signatures = [bytes(one) for one in grey]
    signatures[0] = b""  # unreadable: not among the rows

    found = find_candidates(Thumbnails(signatures, 32), np.array([1, 2, 3, 5]))

    np.testing.assert_array_equal(Thumbnails(signatures, 32)[np.array([3, 5])], grey[[3, 5]])
    assert found.pairs.tolist() == [[1, 5]]
    assert found.pairs.tolist() == find_candidates(grey, np.array([1, 2, 3, 5])).pairs.tolist()
