"""LZW codes are counted without unpacking: whole files of every layout agree with their size, changed codes do not."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart.data.images import BadImage, ImageRules, open_image
from headstart.data.lzw_codes import count_bytes, lzw_damage
from mutated_images import whole_file


def packed(values: bytes) -> bytes:
    """A GIF's codes without compression: each value as it is, the table cleared before a code needs another bit."""
    bits, codes = "", [256]
    for i in range(0, len(values), 250):
        codes += [*values[i : i + 250], 256]
    for code in [*codes, 257]:
        bits = f"{code:09b}" + bits
    bits = bits.zfill(-(-len(bits) // 8) * 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "little")


def test_values_as_they_are_count_one_each() -> None:
    values = bytes(np.random.default_rng(0).integers(0, 256, 1_003, dtype=np.uint8))

    assert count_bytes(packed(values), 8, is_gif=True) == 1_003


def test_a_run_of_one_value_counts_1_2_3_and_so_on() -> None:
    """Clear, 7, 258, 259, 260, end: each is the one before and a byte more."""
    bits = "".join(f"{code:09b}" for code in (256, 7, 258, 259, 260, 257))

    assert count_bytes(int(bits.ljust(56, "0"), 2).to_bytes(7, "big"), 8, is_gif=False) == 1 + 2 + 3 + 4


def test_a_code_that_stands_for_nothing_yet_is_an_error() -> None:
    bits = "".join(f"{code:09b}" for code in (256, 7, 260, 257))

    with pytest.raises(ValueError):
        count_bytes(int(bits.ljust(40, "0"), 2).to_bytes(5, "big"), 8, is_gif=False)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1, 1), (3, 200), (97, 61), (400, 300)])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("GIF", {}),
        ("GIF", {"interlace": 0}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_lzw", "tiffinfo": {278: 7}}),  # rows in a strip
        ("TIFF", {"compression": "tiff_lzw", "tiffinfo": {317: 2}}),  # differences of neighbours
    ],
)
def test_whole_files_are_whole(kind: str, options: dict[str, Any], mode: str, size: tuple[int, int]) -> None:
    """Also noise, which makes the longest tables, and one colour, which makes the longest strings."""
    rng = np.random.default_rng(size[0])
    noise = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    for picture in (noise, Image.new("RGB", size, (9, 120, 30))):
        if options.get("tiffinfo", {}).get(317) and mode in ("1", "P"):
            continue
        buffer = io.BytesIO()
        picture.convert(mode).save(buffer, kind, **options)
        data = buffer.getvalue()

        assert lzw_damage(Image.open(io.BytesIO(data)), data) is None


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["gif", "tiff-lzw"])
def test_a_changed_byte_within_the_codes_shows(format_: str) -> None:
    """At 60 places: refused, or the change is not seen."""
    whole = whole_file(format_, 1)
    picture = open_image(whole).rgb.astype(int)
    for place in range(len(whole) // 3, len(whole) - 60, len(whole) // 90):
        try:
            opened = open_image(whole[:place] + bytes([whole[place] ^ 0x21]) + whole[place + 1 :])
        except BadImage:
            continue
        assert np.abs(opened.rgb - picture).mean() <= 8


def test_damaged_codes_are_used_where_the_user_says_so() -> None:
    whole = whole_file("tiff-lzw", 1)
    damaged = whole[:15_000] + bytes([whole[15_000] ^ 0x21]) + whole[15_001:]

    with pytest.raises(BadImage, match="damaged"):
        open_image(damaged)
    opened = open_image(damaged, ImageRules(keep_damaged=True))

    assert opened.damage is not None
    assert opened.rgb.shape == open_image(whole).rgb.shape
