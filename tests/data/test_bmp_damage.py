"""A BMP has a colour for each pixel, and says what it holds."""

from __future__ import annotations

import struct

import pytest

from headstart.data.images import BadImage, open_image


def bmp(bits: int, pixels: bytes, *, packing: int = 0, colours: int = 0) -> bytes:
    """A BMP of 4×1 pixels; `colours` greys stand in its palette."""
    palette = bytes(value for grey in range(colours) for value in (grey, grey, grey, 0))
    start = 54 + len(palette)
    head = b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start)
    return head + struct.pack("<IiiHHIIiiII", 40, 4, 1, 1, bits, packing, 0, 0, 0, colours, 0) + palette + pixels


def test_a_bmp_whose_greys_are_fewer_than_its_pixels_use_is_damage() -> None:
    """Pillow makes a short palette of greys as long as it has to be."""
    assert open_image(bmp(8, bytes([0, 1, 2, 9]), colours=10)).rgb[0, :, 0].tolist() == [0, 1, 2, 9]
    with pytest.raises(BadImage, match="2 of its pixels have a colour that its palette of 10 lacks"):
        open_image(bmp(8, bytes([0, 1, 10, 200]), colours=10))


@pytest.mark.parametrize(("bits", "packing", "words"), [(0, 5, "that holds a PNG"), (0, 4, "that holds a JPEG")])
def test_a_bmp_that_holds_another_format_says_so(bits: int, packing: int, words: str) -> None:
    with pytest.raises(BadImage, match=f"a BMP {words}, which is not supported"):
        open_image(bmp(bits, bytes(8), packing=packing))
