"""Crops, brightness and contrast are fitted to pairs of thumbnails."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from drawn_scenes import pixels, scene
from headstart.data.duplicates.alignment import WHOLE, cropped, fit_crops, inverse
from headstart.data.image_index import signature_of


def thumbnail(image: Image.Image) -> NDArray[np.float32]:
    """1×32×32 grey."""
    return np.frombuffer(signature_of(pixels(image)), np.uint8).reshape(1, 32, 32).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_the_crop_that_was_cut_is_fitted_whatever_brightness_and_contrast(seed: int) -> None:
    image = scene(seed, (320, 320))
    whole, part = thumbnail(image), thumbnail(image.crop((16, 8, 304, 316)))

    crops, misfits = fit_crops(whole, 0.8 * part + 20)

    np.testing.assert_allclose(crops[0], [0.05, 0.95, 0.025, 0.9875], atol=0.005)
    assert misfits[0] < 0.1


def test_another_scene_does_not_fit() -> None:
    _, misfits = fit_crops(thumbnail(scene(0)), thumbnail(scene(1)))

    assert misfits[0] > 0.4


def test_the_whole_crop_changes_nothing_and_half_a_crop_is_the_enlarged_half() -> None:
    ramp = np.tile(np.arange(32, dtype=np.float32), (1, 32, 1))  # grey level = column

    np.testing.assert_allclose(cropped(ramp, np.array([WHOLE], np.float32)), ramp, atol=1e-4)
    left = cropped(ramp, np.array([(0, 0.5, 0, 1)], np.float32))[0]
    np.testing.assert_allclose(left[:, 1:], np.tile((np.arange(1, 32) + 0.5) / 2 - 0.5, (32, 1)), atol=1e-4)


def test_an_inverse_crop_leads_back() -> None:
    crop = np.array([0.05, 0.95, 0.1, 0.9])
    back = inverse(crop)
    # a point at share s of the whole is at share back[0] + (back[1] - back[0]) · s of the crop
    for s in (0.0, 0.3, 1.0):
        for low in (0, 2):
            share = back[low] + (back[low + 1] - back[low]) * s
            assert crop[low] + (crop[low + 1] - crop[low]) * share == pytest.approx(s)
