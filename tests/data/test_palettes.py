"""Palettes: a colour that is missing is damage, and 8-bit values in a TIFF are colours."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from headstart.data.images import BadImage, ImageRules, open_image
from headstart.data.palettes import missing_colours
from png_files import chunk, png_of

_ROWS = [bytes([0, 1, 2, 3])] * 3


def test_pixels_without_a_colour_are_damage_and_black_ones_are_not() -> None:
    whole = png_of(4, _ROWS, height=3, depth=8, colour=3, extra=chunk(b"PLTE", bytes(range(12))))
    short = png_of(4, _ROWS, height=3, depth=8, colour=3, extra=chunk(b"PLTE", bytes(range(9))))

    assert open_image(whole).rgb[0, 3].tolist() == [9, 10, 11]
    with pytest.raises(BadImage, match="3 of its pixels have a colour that its palette of 3 lacks"):
        open_image(short)
    assert open_image(short, ImageRules(keep_damaged=True)).rgb[0, 2].tolist() == [6, 7, 8]


def test_a_transparent_index_needs_no_colour() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30])
    image.putdata([0, 5])

    assert missing_colours(image) is not None
    image.info["transparency"] = 5
    assert missing_colours(image) is None


@pytest.mark.parametrize(("scale", "noted"), [(257, False), (1, True)])
def test_the_colours_of_a_tiff_may_have_eight_or_sixteen_bits(scale: int, noted: bool) -> None:
    """By hand: colour i is (i, 255 − i, i // 2)."""
    tags, file = TiffImagePlugin.ImageFileDirectory_v2(), io.BytesIO()
    levels = np.arange(256)
    colours = np.stack([levels, 255 - levels, levels // 2])
    tags[320] = tuple((colours * scale).ravel().tolist())
    tags.tagtype[320] = 3
    image = Image.fromarray(np.array([[0, 7, 200]], np.uint8)).convert("P")
    image.save(file, "TIFF", tiffinfo=tags)
    data = file.getvalue()
    data = _with_colours(data, (colours * scale).astype("<u2").tobytes())

    opened = open_image(data)

    assert opened.rgb[0].tolist() == [[0, 255, 0], [7, 248, 3], [200, 55, 100]]
    assert bool(opened.notes) == noted


def _with_colours(data: bytes, colours: bytes) -> bytes:
    """The TIFF with another colour map in the place of its own."""
    with Image.open(io.BytesIO(data)) as image:
        own = np.asarray(image.tag_v2[320]).astype("<u2").tobytes()  # type: ignore[attr-defined]
    assert data.count(own) == 1
    return data.replace(own, colours)
