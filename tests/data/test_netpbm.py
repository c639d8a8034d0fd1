"""A netpbm of 10 or 12 bits says what white is; one of 16 bits may hold fewer, as --bit-depth says."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from headstart.data.images import BadImage, ImageRules, open_image
from headstart.data.netpbm import BINARY, deep_colours, other_bytes, stated_white

TWELVE = ImageRules(bit_depth=12)
VALUES = np.array([0, 1024, 2048, 4095], dtype=">u2")


@pytest.mark.parametrize("rules", [ImageRules(), TWELVE])
@pytest.mark.parametrize("data", [b"P5 4 1 4095\n" + VALUES.tobytes(), b"P2 4 1 4095 0 1024 2048 4095"])
def test_a_header_that_states_white_needs_no_bit_depth(data: bytes, rules: ImageRules) -> None:
    grey = open_image(data, rules).rgb[0, :, 0].astype(int)

    assert np.abs(grey - VALUES / 4095 * 255).max() <= 0.5


def test_greys_and_colours_of_16_bits_take_the_bit_depth_of_the_rules() -> None:
    grey = open_image(b"P5 4 1 65535\n" + VALUES.tobytes(), TWELVE).rgb[0, :, 0]
    colours = open_image(b"P6 4 1 65535\n" + np.repeat(VALUES, 3).tobytes(), TWELVE)

    assert grey.tolist() == [0, 64, 128, 255]
    assert colours.rgb[0, :, 1].tolist() == grey.tolist()
    assert colours.brightest == 4095


def test_dark_colours_of_16_bits_say_their_brightest_value() -> None:
    opened = open_image(b"P6 4 1 65535\n" + np.repeat(VALUES, 3).tobytes())

    assert opened.brightest == 4095  # so that a whole set of them is noticed
    assert opened.notes == ("16 bit, brightest value 4095 of 65535",)


def test_colours_that_cannot_be_stretched_are_refused() -> None:
    with pytest.raises(BadImage, match="cannot be read as 12 bit"):
        open_image(b"P3 1 1 65535 0 1024 4095", TWELVE)


def test_what_a_header_states() -> None:
    assert stated_white(b"P5 # a comment\n4 1\n1023\n") == 1023
    assert stated_white(b"P4 8 1\n\0") == 0


@pytest.mark.parametrize(
    ("data", "other"), [(b"P6 1 1 255\n" + bytes(3), None), (b"P6 1 1 65535\n" + bytes(6), BINARY)]
)
def test_only_colours_of_16_bits_have_another_byte(data: bytes, other: str | None) -> None:
    assert other_bytes(Image.open(io.BytesIO(data)), data) == other


def test_values_of_two_bytes_are_read_as_they_stand() -> None:
    data = b"P6 2 1 65535\n" + struct.pack(">6H", 1, 2, 3, 256, 257, 65535)

    assert deep_colours(Image.open(io.BytesIO(data)), data).tolist() == [[[1, 2, 3], [256, 257, 65535]]]
    with pytest.raises(ValueError, match="not binary"):
        deep_colours(Image.new("RGB", (1, 1)), b"P3 1 1 65535 1 2 3")
