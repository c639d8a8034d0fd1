"""HEIC files whose image data are changed are refused, though their decoder shows another picture without a word."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from headstart.data.hevc_stream import hevc_damage, last_slice
from headstart.data.images import BadImage, ImageRules, open_image
from headstart.data.media_items import read_items
from mutated_images import mutations, whole_file

pillow_heif = pytest.importorskip("pillow_heif", reason="needs headstart[heic]")


@pytest.fixture(scope="module")
def whole() -> bytes:
    pillow_heif.register_heif_opener()
    buffer = io.BytesIO()
    Image.open(io.BytesIO(whole_file("png", 2))).save(buffer, "HEIF", quality=85)
    return buffer.getvalue()


def test_units_whose_lengths_do_not_add_up_are_damage(whole: bytes) -> None:
    begin, _ = read_items(whole).place or (0, 0)
    length = struct.unpack_from(">I", whole, begin)[0]

    for wrong in (length + 1, length - 1, 0, 1 << 31):
        changed = whole[:begin] + struct.pack(">I", wrong) + whole[begin + 4 :]
        assert "lengths that do not add up" in str(hevc_damage(changed))
    assert hevc_damage(whole) is None


@pytest.mark.parametrize("bytes_", [b"\0\0\0", b"\0\0\x01", b"\0\0\x02", b"\0\0\x03\x04"])
def test_bytes_that_an_encoder_never_writes_are_damage(whole: bytes, bytes_: bytes) -> None:
    begin, end = last_slice(whole) or (0, 0)
    place = (begin + end) // 2
    changed = whole[:place] + b"\x55" + bytes_ + b"\x55" + whole[place + 2 + len(bytes_) :]

    assert hevc_damage(changed) == f"damaged (bytes at {place + 1:,} that cannot be in its image data)"


@pytest.mark.slow
def test_changed_bytes_in_the_stream_are_refused(whole: bytes) -> None:
    """Of 40 places nearly all change the picture; none does so without a word."""
    begin, end = last_slice(whole) or (0, 0)
    picture, another, refused = open_image(whole).rgb.astype(int), 0, 0
    for place in range(begin + 40, end - 100, (end - begin) // 40):
        try:
            opened = open_image(whole[:place] + bytes([whole[place] ^ 0x77]) + whole[place + 1 :])
        except BadImage:
            refused += 1
        else:
            another += np.abs(opened.rgb - picture).mean() > 8

    assert refused >= 30
    assert another == 0


@pytest.mark.parametrize(
    "size", [(40, 40), (66, 65), *(pytest.param(one, marks=pytest.mark.slow) for one in ((129, 96), (200, 70)))]
)
@pytest.mark.parametrize("quality", [10, 60, 100])
def test_whole_files_use_their_data(size: tuple[int, int], quality: int) -> None:
    pillow_heif.register_heif_opener()
    rng = np.random.default_rng(3)
    noise = rng.integers(0, 255, (size[1], size[0], 3)).astype(np.uint8)
    for pixels in (noise, noise // 64 * 64, np.full_like(noise, 200)):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "HEIF", quality=quality)

        assert open_image(buffer.getvalue(), ImageRules(keep_damaged=True)).damage is None


def test_files_of_other_formats_have_no_slices() -> None:
    """So that a corpus of them costs nothing."""
    for mutation in mutations(3, 1):
        with pytest.raises((KeyError, ValueError)):
            last_slice(mutation.whole)
