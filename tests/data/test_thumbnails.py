"""Thumbnails: what comes back out of the data address is the picture, small, upright and of its own shape."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.data.images import BadImage, ImageRules
from headstart.data.thumbnails import SIDE, Thumbnail, encode_thumbnail, thumbnail


def decoded(found: Thumbnail) -> Image.Image:
    kind, _, text = found.address.partition(";base64,")
    image = Image.open(io.BytesIO(base64.b64decode(text)))
    assert kind == f"data:image/{str(image.format).lower()}"
    assert image.size == (found.width, found.height)
    return image


def test_a_photograph_becomes_a_small_jpeg_of_its_own_shape(tmp_path: Path) -> None:
    rgb = np.zeros((600, 900, 3), np.uint8)
    rgb[:, 450:] = (200, 100, 50)
    Image.fromarray(rgb).save(tmp_path / "half.png")

    found = thumbnail(tmp_path / "half.png")

    assert (found.width, found.height) == (SIDE, 107)  # 600 / 900 · 160 = 106.67
    pixels = np.asarray(decoded(found), np.int64)
    assert np.abs(pixels[:, 120:].mean(axis=(0, 1)) - (200, 100, 50)).max() < 3
    assert pixels[:, :40].max() < 12


def test_noise_at_full_size_stays_under_twenty_kilobytes() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (800, 800, 3), np.uint8)

    assert len(encode_thumbnail(noise).address) < 20_000


def test_an_image_of_few_pixels_keeps_every_one_of_them() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (28, 32, 3), np.uint8)

    image = decoded(encode_thumbnail(rgb))

    assert image.format == "PNG"
    assert np.array_equal(np.asarray(image), rgb)


@pytest.mark.parametrize(("height", "width"), [(1, 5000), (5000, 1), (160, 160), (81, 80)])
def test_any_shape_has_at_least_one_and_at_most_160_pixels_a_side(height: int, width: int) -> None:
    found = encode_thumbnail(np.full((height, width, 3), 90, np.uint8))

    assert min(found.width, found.height) >= 1
    assert max(found.width, found.height) == min(SIDE, max(height, width))
    decoded(found).load()


def test_a_turned_photograph_is_shown_upright(tmp_path: Path) -> None:
    image = Image.fromarray(np.zeros((300, 600, 3), np.uint8))
    exif = image.getexif()
    exif[0x0112] = 6  # to be turned by a quarter
    image.save(tmp_path / "turned.jpg", exif=exif)

    found = thumbnail(tmp_path / "turned.jpg")

    assert (found.width, found.height) == (80, 160)


def test_transparent_pixels_show_the_background_of_the_rules(tmp_path: Path) -> None:
    Image.new("RGBA", (10, 10), (0, 0, 0, 0)).save(tmp_path / "empty.png")

    found = thumbnail(tmp_path / "empty.png", rules=ImageRules(background=(10, 20, 30)))

    assert decoded(found).getpixel((5, 5)) == (10, 20, 30)


def test_a_broken_file_is_a_bad_image_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "none.jpg").write_bytes(b"")

    with pytest.raises(BadImage, match="empty"):
        thumbnail(tmp_path / "none.jpg")
