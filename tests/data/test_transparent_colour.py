"""The transparent colour of a PNG without alpha: by hand, at every depth."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from headstart.data.images import ImageRules, open_image
from headstart.data.transparent_colour import transparent_value
from png_files import chunk, png_of

_RED = ImageRules(background=(255, 0, 0))


@pytest.mark.parametrize(
    ("depth", "row", "colour", "levels"),
    [
        (1, b"\x80", 0, [255, None]),
        (2, b"\x60", 1, [None, 170]),  # 01 10
        (4, b"\x1f", 1, [None, 255]),
        (8, b"\x12\x13", 0x12, [None, 0x13]),
        (16, b"\x12\x34\x12\x35", 0x1234, [None, 0x12]),
    ],
)
def test_grey_of_the_transparent_value_is_the_background(
    depth: int, row: bytes, colour: int, levels: list[int | None]
) -> None:
    """Both 16-bit values have one upper byte."""
    data = png_of(2, [row], height=1, depth=depth, colour=0, extra=chunk(b"tRNS", colour.to_bytes(2, "big")))

    opened = open_image(data, _RED)

    wanted = [[255, 0, 0] if level is None else [level] * 3 for level in levels]
    assert opened.rgb[0].tolist() == wanted
    assert any("transparency" in note for note in opened.notes)


def test_a_colour_of_sixteen_bits_that_cannot_be_used_is_named() -> None:
    pixels = np.array([0x1234] * 3 + [0x1235] * 3, ">u2").tobytes()
    data = png_of(2, [pixels], height=1, depth=16, colour=2, extra=chunk(b"tRNS", b"\x12\x34" * 3))

    opened = open_image(data, _RED)

    assert opened.rgb[0].tolist() == [[0x12] * 3] * 2
    assert opened.notes == (
        "its transparent colour of 16 bits is not applied",
        "16 bit, brightest value 4661 of 65535",
    )


def test_only_deep_grey_keeps_its_own_value() -> None:
    image = Image.new("L", (1, 1))
    image.info["transparency"] = 3
    assert transparent_value(image) is None
    deep = image.convert("I;16")
    deep.info["transparency"] = 3
    assert transparent_value(deep) == 3
