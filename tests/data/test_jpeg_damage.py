"""A JPEG whose data end early or hold zeros is distinguished from a whole one with padding or grey corners."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from headstart.data.images import BadImage, open_image
from headstart.data.jpeg_damage import libjpeg_warning
from mutated_images import whole_file


def test_bytes_after_the_end_of_a_jpeg_are_no_damage() -> None:
    """Cameras append thumbnails and padding; libjpeg calls them extraneous."""
    whole = whole_file("jpeg", 0)

    assert open_image(whole + b"\x00" * 64).damage is None
    assert libjpeg_warning(whole, "RGB") is None


@pytest.mark.parametrize("format_", ["jpeg", "jpeg444", "jpeg-grey", "progressive"])
@pytest.mark.parametrize("share", [0.4, 0.6, 0.8])
def test_data_that_end_early_are_damage_with_and_without_an_end_mark(format_: str, share: float) -> None:
    whole = whole_file(format_, 1)
    cut = whole[: int(share * len(whole))]

    for damaged in (cut, cut + whole[-2:], cut + bytes(len(whole) - len(cut))):
        with pytest.raises(BadImage, match=r"damaged|truncated"):
            open_image(damaged)


FORMATS = ["jpeg", "jpeg444", "jpeg-grey", "progressive"]


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize(
    "padding",
    [b"\xff" * 3, b"\xff" * 500, b"\0" * 3, b"\0" * 40, b"\0" * 5000, b" " * 100, b"\0\0\xff\xff",
     b"Camera firmware 1.2.3\r\n"],
)  # fmt: skip
def test_padding_and_text_before_the_end_mark_are_no_damage(format_: str, padding: bytes) -> None:
    whole = whole_file(format_, 1)
    end = whole.rfind(b"\xff\xd9")

    opened = open_image(whole[:end] + padding + whole[end:])

    assert opened.damage is None
    assert np.array_equal(np.asarray(opened.rgb), np.asarray(open_image(whole).rgb))


@pytest.mark.parametrize("format_", FORMATS)
def test_what_phones_put_behind_the_end_mark_is_no_damage(format_: str) -> None:
    whole = whole_file(format_, 1)
    samsung = b"\0\0\x01\x0aImage_UTC_Data1700000000000SEFHe\0\0\0\x01\0\0\0SEFT"
    for trailer in (whole_file("jpeg", 2), whole_file("jpeg", 2)[:300], samsung, b"\xff\xd9", bytes(4000)):
        assert open_image(whole + trailer).damage is None


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("filler", [b"\0", b"\xff", b" "])
@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
def test_image_data_replaced_with_filler_are_damage(format_: str, filler: bytes, share: float) -> None:
    whole = whole_file(format_, 1)
    end, cut = whole.rfind(b"\xff\xd9"), int(share * len(whole))

    with pytest.raises(BadImage, match=r"damaged|truncated"):
        open_image(whole[:cut] + filler * (end - cut) + whole[end:])


@pytest.mark.parametrize("variant", range(4))
def test_a_whole_cmyk_needs_its_last_byte_and_one_with_a_doubled_block_does_not(variant: int) -> None:
    """libjpeg is ahead of what it decodes by a few bytes, and counts as left over only what is behind them."""
    whole = whole_file("jpeg-cmyk", variant)
    end = whole.rindex(b"\xff\xd9")

    assert open_image(whole).damage is None
    assert open_image(whole + b"thumbnail \xff\xd9").damage is None
    with pytest.raises(BadImage, match="no pixel depends on the last bytes"):
        open_image(whole[:end] + b"\x37" + whole[end:])


def test_a_quantisation_step_of_zero_is_damage() -> None:
    """The standard allows none: the coefficients that it multiplies would be lost without a warning of libjpeg."""
    whole = whole_file("jpeg", 0)
    table = whole.index(b"\xff\xdb") + 5

    for damaged in (whole[:table] + bytes(64) + whole[table + 64 :], whole[: table + 9] + b"\0" + whole[table + 10 :]):
        with pytest.raises(BadImage, match="quantisation table holds zeros"):
            open_image(damaged)


@pytest.mark.parametrize(
    ("marker", "at", "value", "words"),
    [
        (b"\xff\xc0", 4, 12, "a JPEG of 12 bits, which is not supported"),
        (b"\xff\xc0", 1, 0xF7, "a JPEG-LS"),
        (b"\xff\xc0", 5, None, "states its height behind its pixels alone"),
    ],
)
def test_a_coding_that_is_not_read_is_named(marker: bytes, at: int, value: int | None, words: str) -> None:
    """A changed header stands for such a file; Pillow looks at no more of it before it refuses."""
    data = bytearray(whole_file("jpeg", 0))
    place = data.index(marker)
    if value is None:
        data[place + at : place + at + 2] = bytes(2)
    else:
        data[place + at] = value

    with pytest.raises(BadImage) as bad:
        open_image(bytes(data))

    assert words in bad.value.reason
    assert "damaged" not in bad.value.reason


@pytest.mark.parametrize("marker", [b"\xff\xdb", b"\xff\xc4", b"\xff\xc0", b"\xff\xda"])
def test_a_segment_of_another_length_than_its_content_is_damage(marker: bytes) -> None:
    """Libjpeg passes over what is left of a segment, and bytes before the next one are common in whole files."""
    whole = whole_file("jpeg", 0)
    place = whole.index(marker)
    length = int.from_bytes(whole[place + 2 : place + 4], "big")
    longer = whole[: place + 2] + (length + 1).to_bytes(2, "big") + whole[place + 4 : place + 2 + length] + b"\x07"

    with pytest.raises(BadImage):
        open_image(longer + whole[place + 2 + length :])


def test_a_dozen_zeros_of_small_coefficients_are_a_picture() -> None:
    """34 coefficients of −1 one after another are 102 zero bits in the usual tables, at quality 100."""
    order = sorted(((y, x) for y in range(8) for x in range(8)), key=lambda at: (sum(at), at[1 - sum(at) % 2]))
    coefficients = np.zeros((8, 8))
    for y, x in order[1:35]:
        coefficients[y, x] = -1
    at = np.arange(8)
    cosines = np.cos((2 * at[None] + 1) * at[:, None] * np.pi / 16) / 2
    cosines[0] /= np.sqrt(2)
    runs = []
    for brightness in np.linspace(100, 150, 60):
        block = (cosines.T @ coefficients @ cosines + brightness).round().astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(np.tile(block, (3, 3))).save(buffer, "JPEG", quality=100)
        assert open_image(buffer.getvalue()).damage is None
        runs.append(bytes(12) in buffer.getvalue()[buffer.getvalue().index(b"\xff\xda") :])
    assert any(runs)
