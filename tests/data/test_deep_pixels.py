"""Pixels of more than 8 bits: one scale for all images, white stays white, rare kinds right or refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from headstart.data.deep_pixels import bands, grey_scale, is_deep, to_grey, values_of
from headstart.data.images import BadImage, ImageRules, open_image
from tiff_files import tiff


def _png(values: np.ndarray) -> bytes:
    data = io.BytesIO()
    Image.fromarray(values).save(data, "PNG")
    return data.getvalue()


def test_sixteen_bits_are_divided_by_257_and_twelve_by_their_own_white() -> None:
    values = np.array([[0, 2048, 4095, 65535]], np.uint16)

    usual = open_image(_png(values))
    twelve = open_image(_png(values), ImageRules(bit_depth=12))

    assert usual.rgb[0, :, 0].tolist() == [0, 8, 16, 255]
    assert twelve.rgb[0, :, 0].tolist() == [0, 128, 255, 255]
    assert (usual.brightest, twelve.brightest) == (65535, 65535)
    assert any("clipped" in note for note in twelve.notes)


@pytest.mark.slow
def test_bands_are_the_image_cut_from_top_to_bottom() -> None:
    image = Image.fromarray(np.arange(3000 * 2000, dtype=np.int32).reshape(3000, 2000))

    parts = list(bands(image, rows=4))

    assert len(parts) > 1
    assert all(part.height % 4 == 0 for part in parts[:-1])
    np.testing.assert_array_equal(np.concatenate([np.asarray(part) for part in parts]), np.asarray(image))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(bad: float) -> None:
    data = io.BytesIO()
    Image.fromarray(np.array([[0.5, bad]], np.float32)).save(data, "TIFF")

    with pytest.raises(BadImage, match="finite"):
        open_image(data.getvalue())


def test_white_is_zero_is_turned_for_sixteen_bits_too() -> None:
    values = np.array([[0, 65535]], np.uint16)
    data = io.BytesIO()
    Image.fromarray(values).save(data, "TIFF", tiffinfo={262: 0})
    image = Image.open(io.BytesIO(data.getvalue()))

    found = open_image(data.getvalue()).rgb[0, :, 0].tolist()

    assert image.tag_v2[262] in (0, 1)
    assert found == ([255, 0] if image.tag_v2[262] == 0 else [0, 255])


def test_a_float_image_between_0_and_1_is_taken_as_it_is() -> None:
    image = Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32))
    scale = grey_scale(image, 16)

    assert is_deep(image.mode)
    assert scale is not None
    assert to_grey(values_of(image), scale).tolist() == [[0, 128, 255]]


def test_twelve_bits_packed_in_a_tiff_have_their_own_white() -> None:
    """By hand: 0xFFF is white, and 0x800 the middle; Pillow gives them as 4095 and 2048 of 65535."""
    data = tiff(bytes([0x00, 0x08, 0x00, 0xFF, 0xF0, 0x00]), t258=12)

    opened = open_image(data)

    assert opened.rgb[..., 0].tolist() == [[0, 128], [255, 0]]
    assert opened.brightest == 65535
