"""A JPEG whose blocks are brighter than white is found, and the extremes that encoders write are not called damage."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from headstart.data.images import BadImage, open_image
from headstart.data.jpeg_range import beyond_range, has_clipped_blocks
from mutated_images import whole_file

pytest.importorskip("simplejpeg")


def _jpeg(pixels: np.ndarray, mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def _halves() -> np.ndarray:
    """White on the left, grey on the right."""
    pixels = np.full((64, 96, 3), 255, np.uint8)
    pixels[:, 48:] = 150
    return pixels


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("options", [{"quality": 88, "subsampling": 0}, {"quality": 75, "progressive": True}])
def test_a_step_of_twice_its_size_makes_white_brighter_than_white(mode: str, options: dict[str, object]) -> None:
    """By ITU T.81, A.3.3, white is 1016 before it is divided; with a doubled step it reads as 2032."""
    pixels = 255 - _halves() if mode == "CMYK" else _halves()
    whole = _jpeg(pixels, mode, **options)
    table = whole.index(b"\xff\xdb") + 5
    damaged = whole[:table] + bytes((2 * whole[table],)) + whole[table + 1 :]

    assert open_image(whole).damage is None
    with pytest.raises(BadImage, match="brighter than white or darker than black"):
        open_image(damaged)


@pytest.mark.parametrize("quality", [1, 10, 50, 75, 90, 95, 100])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_black_white_and_full_colours_are_no_damage(quality: int, subsampling: int) -> None:
    rng = np.random.default_rng(quality)
    colours = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0]], np.uint8)
    for side in (1, 3, 8, 16):  # pixels of a square of one colour
        pixels = np.kron(colours[rng.integers(6, size=(96 // side, 96 // side))], np.ones((side, side, 1), np.uint8))
        data = _jpeg(pixels, quality=quality, subsampling=subsampling)
        assert beyond_range(data) is None


def test_a_thumbnail_and_other_tables_in_front_do_not_matter() -> None:
    exif = Image.Exif()
    exif[0x010E] = "\xff\xdb" * 40
    assert beyond_range(_jpeg(_halves(), quality=80, exif=exif)) is None
    assert beyond_range(whole_file("jpeg-turned", 0)) is None


def test_data_that_are_no_jpeg_are_left_to_the_decoder() -> None:
    assert beyond_range(b"\xff\xd8\xff") is None
    assert beyond_range(b"") is None


def test_pixels_tell_where_a_second_decoding_is_worth_it() -> None:
    assert has_clipped_blocks(_halves())
    assert has_clipped_blocks(np.zeros((16, 16, 3), np.uint8))
    assert not has_clipped_blocks(np.full((64, 64, 3), 254, np.uint8))
    one = np.full((160, 160, 3), 100, np.uint8)
    one[:8, :8] = 255  # of 400 blocks
    assert not has_clipped_blocks(one)
    assert not has_clipped_blocks(np.full((3, 3, 3), 255, np.uint8))  # no whole block
