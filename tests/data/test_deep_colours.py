"""Colours of 16 bits become 8 bits on the scale that the rules state, of PNG and netpbm alike."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from headstart.data import deep_pixels, netpbm
from headstart.data.deep_colours import eight_bit_colours
from headstart.data.images import ImageRules, open_image
from png_files import png_of

VALUES = (0, 1024, 2048, 4095)
_COLOURS = struct.pack(">12H", *(value for value in VALUES for _ in range(3)))
_GREYS = struct.pack(">8H", *(number for value in VALUES for number in (value, 65535)))
FILES = {
    "PNG": png_of(4, [_COLOURS], height=1, depth=16, colour=2),
    "PNG of grey with alpha": png_of(4, [_GREYS], height=1, depth=16, colour=4),
    "PPM": b"P6 4 1 65535\n" + _COLOURS,
}


@pytest.mark.parametrize("format_", FILES)
@pytest.mark.parametrize("depth", [10, 12, 16])
def test_a_bit_depth_is_the_white_of_the_colours(format_: str, depth: int) -> None:
    data = FILES[format_]
    image = Image.open(io.BytesIO(data))
    other = netpbm.other_bytes(image, data) if format_ == "PPM" else deep_pixels.other_bytes(image)
    image.load()
    found = eight_bit_colours(image, data, str(other), bit_depth=depth)
    wanted = np.clip(np.round(np.array(VALUES) * 255 / (2**depth - 1)), 0, 255)

    assert found is not None
    assert found.brightest == 4095
    assert np.abs(np.asarray(found.image)[0, :, 1].astype(int) - wanted).max() <= 1


@pytest.mark.parametrize("format_", FILES)
def test_a_file_of_dark_colours_is_stretched_when_it_is_opened(format_: str) -> None:
    opened, stretched = open_image(FILES[format_]), open_image(FILES[format_], ImageRules(bit_depth=12))

    assert (opened.brightest, stretched.brightest) == (4095, 4095)  # the audit offers --bit-depth for such a set
    assert opened.rgb.max() <= 16
    assert stretched.rgb.max() == 255


@pytest.mark.parametrize(("colour", "grey"), [(6, 3), (4, 1)])
def test_alpha_of_as_few_bits_is_stretched_too_and_true_alpha_is_not(colour: int, grey: int) -> None:
    """Red, green and blue, or grey, of 12 bits; opaque, half and transparent, first of 12 bits and then of 16."""
    rules = ImageRules(bit_depth=12, background=(255, 255, 255))
    for opaque in (4095, 65535):
        pixels = [*[2048] * grey, opaque, *[2048] * grey, opaque // 2, *[2048] * grey, 0]
        data = png_of(3, [struct.pack(f">{len(pixels)}H", *pixels)], height=1, depth=16, colour=colour)

        opened = open_image(data, rules)

        assert np.abs(opened.rgb[0].astype(int) - np.array([[128], [191], [255]])).max() <= 1
        assert opened.brightest == 2048


def test_without_the_lower_bytes_nothing_is_stretched() -> None:
    image = Image.new("RGB", (2, 2), (9, 9, 9))

    assert eight_bit_colours(image, b"", "", bit_depth=12) is None  # type: ignore[arg-type]
    kept = eight_bit_colours(image, b"", "", bit_depth=16)  # type: ignore[arg-type]
    assert kept is not None
    assert (kept.image is image, kept.brightest, kept.notes) == (True, 9 * 257, ())
