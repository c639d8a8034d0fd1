"""A TIFF whose tiles cannot be is damaged; other damage of it: test_image_damage.py."""

from __future__ import annotations

import zlib

import pytest

from headstart.data.images import BadImage, open_image
from tiff_files import tiff


def test_tiles_without_a_width_are_damage() -> None:
    with pytest.raises(BadImage, match="a size in its header is impossible"):
        open_image(tiff(bytes(4), t322=0, t323=16, t324=8, t325=4))


def test_deflate_data_whose_bits_are_stored_in_the_other_order_are_whole() -> None:
    packed = bytes(int(f"{byte:08b}"[::-1], 2) for byte in zlib.compress(bytes([10, 20, 30, 40])))

    opened = open_image(tiff(packed, t259=8, t266=2))

    assert opened.rgb[:, :, 0].tolist() == [[10, 20], [30, 40]]


def test_deflate_data_whose_bits_are_in_the_other_order_are_checked_too() -> None:
    packed = bytes(int(f"{byte:08b}"[::-1], 2) for byte in zlib.compress(bytes([10, 20, 30, 40])))

    with pytest.raises(BadImage, match="damaged"):
        open_image(tiff(packed[:-1] + bytes([packed[-1] ^ 1]), t259=8, t266=2))
