"""A damaged file is refused with a reason, whatever its format; a whole one never is."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart.data.image_damage import reason_of_unknown
from headstart.data.images import BadImage, ImageRules, open_image
from mutated_images import FORMATS, mutations, whole_file
from png_files import chunk, png_of

TOLERANCE = 8  # grey levels of the mean difference: below, nobody sees damage
_LOSSLESS = {"png", "png-palette", "png-alpha", "gif", "bmp", "ppm", "tiff", "tiff-lzw", "tiff-deflate"}


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("variant", range(2))
def test_whole_files_of_every_format_are_whole(format_: str, variant: int) -> None:
    try:
        opened = open_image(whole_file(format_, variant))
    except KeyError:
        pytest.skip(f"this Pillow cannot write {format_}")
    assert opened.damage is None


@pytest.mark.slow
def test_of_300_damaged_files_none_shows_damage_without_a_word() -> None:
    """Outcomes: refused with a reason; or opened, and then as the whole file but for what nobody sees."""
    wrong, refused = [], 0
    for mutation in mutations(300, seed=7):
        try:
            opened = open_image(mutation.damaged)
        except BadImage as bad:
            refused += 1
            if not bad.reason or "EXIF" in bad.reason:
                wrong.append(f"{mutation.name}: refused with {bad.reason!r}")
            continue
        if opened.suspicion:
            continue
        whole = open_image(mutation.whole).rgb
        if opened.rgb.shape != whole.shape:
            wrong.append(f"{mutation.name}: {opened.rgb.shape} instead of {whole.shape}")
        elif mutation.format in _LOSSLESS and mutation.kind in ("byte", "bytes"):
            continue  # a change of stored pixels is another picture, which no format without checksums can tell
        elif np.abs(opened.rgb.astype(int) - whole).mean() > TOLERANCE:
            wrong.append(f"{mutation.name}: {np.abs(opened.rgb.astype(int) - whole).mean():.0f} levels away")

    assert refused >= 240
    # most formats have no checksum: changed bytes that still decode are another picture. Never of a PNG, never cut
    assert len(wrong) <= 8, wrong
    assert not [name for name in wrong if "-png" in name or "cut" in name]


def test_what_is_left_of_a_damaged_image_is_used_only_when_asked_for() -> None:
    whole = whole_file("jpeg", 0)
    cut = whole[: len(whole) // 2] + whole[-2:]

    with pytest.raises(BadImage, match="truncated or damaged"):
        open_image(cut)
    kept = open_image(cut, ImageRules(keep_damaged=True))

    assert kept.damage is not None
    assert "damaged" in kept.damage
    top = kept.rgb[: kept.rgb.shape[0] // 4].astype(int)
    assert np.abs(top - open_image(whole).rgb[: len(top)]).mean() < 2


def test_a_known_beginning_is_named_and_another_is_not() -> None:
    assert "PNG" in (reason_of_unknown(b"\x89PNG\r\n\x1a\nrest") or "")
    assert reason_of_unknown(b"plain text") is None


@pytest.mark.slow
def test_no_real_image_is_called_damaged(test_data: Path) -> None:
    files = [path for path in sorted(test_data.rglob("*")) if path.suffix.lower() in (".jpg", ".jpeg", ".png")]
    opened = ((path.name, open_image(path)) for path in files[::4])
    called = [(name, image.damage, image.suspicion) for name, image in opened if image.damage or image.suspicion]

    assert len(files) > 1000
    assert called == []


def test_a_header_that_promises_more_than_there_is_is_refused() -> None:
    image = io.BytesIO()
    Image.fromarray(np.full((40, 40, 3), 90, np.uint8)).save(image, "BMP")
    data = image.getvalue()

    with pytest.raises(BadImage):
        open_image(data[:18] + (1400).to_bytes(4, "little") * 2 + data[26:])


@pytest.mark.parametrize("format_", ["jpeg", "jpeg444", "progressive", "webp", "gif", "jpeg2000"])
def test_a_file_that_was_copied_as_text_is_damaged(format_: str) -> None:
    whole = whole_file(format_, 0)
    assert whole.count(b"\n") >= 8

    with pytest.raises(BadImage):
        open_image(whole.replace(b"\n", b"\r\n"))


def test_what_ftp_does_to_a_jpeg_is_called_so() -> None:
    with pytest.raises(BadImage, match="it was copied as text"):
        open_image(whole_file("jpeg", 0).replace(b"\n", b"\r\n"))


@pytest.mark.parametrize("save", [{"quality": 20, "optimize": True}, {"quality": 75}, {"progressive": True}])
def test_a_plain_surface_holds_few_values_of_a_byte_and_is_whole(save: dict[str, Any]) -> None:
    file = io.BytesIO()
    Image.new("RGB", (1500, 1500), (17, 130, 60)).save(file, "JPEG", **save)

    assert open_image(file.getvalue(), ImageRules(keep_damaged=True)).damage is None


def test_a_value_above_the_largest_of_a_netpbm_is_damage() -> None:
    assert open_image(b"P5 2 1 100\n" + bytes([0, 100])).rgb[0, 1].tolist() == [255] * 3
    with pytest.raises(BadImage, match="no value is above 100, and some are"):
        open_image(b"P5 2 1 100\n" + bytes([0, 101]))


def test_a_value_above_the_largest_of_a_netpbm_of_two_bytes_is_damage() -> None:
    assert open_image(b"P5 2 1 4095\n" + struct.pack(">2H", 0, 4095)).rgb[0, 1].tolist() == [255] * 3
    with pytest.raises(BadImage, match="no value is above 4095, and some are"):
        open_image(b"P5 2 1 4095\n" + struct.pack(">2H", 0, 5000))


def png(width: int, height: int, stored: int, *, depth: int = 8, colour: int = 2, interlace: int = 0) -> bytes:
    """A PNG whose checksums are right and whose stream has so many bytes."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    pixels = bytes(0 if i % 61 == 0 else 200 for i in range(stored))  # filter 0 at the start of rows of 20 RGB pixels
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(pixels)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts
    )


def test_a_png_whose_stream_ends_before_its_last_row_is_damaged() -> None:
    """Its checksums are right, and Pillow leaves the rest black."""
    assert open_image(png(20, 30, 61 * 30)).rgb.min() == 200
    for rows in (29, 15, 1):
        with pytest.raises(BadImage, match=f"{61 * rows:,} of 1,830 bytes of image data"):
            open_image(png(20, 30, 61 * rows))


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (5, 9), (8, 8), (17, 31)])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
@pytest.mark.parametrize("interlaced", [False, True])
def test_the_bytes_of_a_whole_png_are_counted(size: tuple[int, int], mode: str, interlaced: bool) -> None:
    """Rows of less than a byte, and passes of an interlaced file that have no pixel."""
    file = io.BytesIO()
    if interlaced:
        depth, colour = {"1": (1, 0), "L": (8, 0), "P": (8, 0), "RGB": (8, 2), "RGBA": (8, 6), "LA": (8, 4),
                         "I;16": (16, 0)}[mode]  # fmt: skip
        width, height = size
        bits = depth * {0: 1, 2: 3, 4: 2, 6: 4}[colour]
        stored = 0
        for x, y, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
                             (0, 1, 1, 2)):  # fmt: skip
            columns, rows = len(range(x, width, dx)), len(range(y, height, dy))
            stored += rows * (1 + (columns * bits + 7) // 8) if columns else 0
        whole = _flat(png(width, height, stored, depth=depth, colour=colour, interlace=1), stored)
    else:
        Image.new(mode, size).save(file, "PNG")
        whole = file.getvalue()

    assert open_image(whole).damage is None


def _flat(data: bytes, stored: int) -> bytes:
    """The same file with a stream of zeros, which are a valid filter in any row."""
    old, new = data[33:], zlib.compress(bytes(stored))
    end = old[-12:]
    body = struct.pack(">I", len(new)) + b"IDAT" + new + struct.pack(">I", zlib.crc32(b"IDAT" + new))
    return data[:33] + body + end


@pytest.mark.parametrize("stated", [29, 15, 1])
def test_a_png_that_goes_on_behind_the_rows_of_its_header_is_damaged(stated: int) -> None:
    """30 rows are stored. A byte or two behind the last row are padding of some writers."""
    rows = [bytes([200]) * 60] * 30

    with pytest.raises(BadImage, match=f"go on behind the {stated} rows? that its header states"):
        open_image(png_of(20, rows, height=stated, depth=8, colour=2))
    assert open_image(png_of(20, [*rows, b""], height=30, depth=8, colour=2)).damage is None


def test_a_palette_that_is_missing_is_damage() -> None:
    """Pillow makes such a picture black."""
    with pytest.raises(BadImage, match="the palette is missing"):
        open_image(png_of(4, [bytes(range(4))], height=1, depth=8, colour=3))


def test_the_first_frame_of_an_animated_png_is_as_large_as_its_header_says() -> None:
    rows = [bytes([200]) * 60] * 30

    def frame(height: int) -> bytes:
        shown = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 20, height, 0, 0, 1, 10, 0, 0))
        return png_of(20, rows, height=30, depth=8, colour=2, extra=chunk(b"acTL", struct.pack(">II", 1, 0)) + shown)

    assert open_image(frame(30)).rgb.min() == 200
    with pytest.raises(BadImage, match="its first frame has 20×10 pixels"):
        open_image(frame(10))


def test_a_png_says_which_of_its_chunks_is_in_the_way() -> None:
    def reason(extra: bytes) -> str:
        with pytest.raises(BadImage) as bad:
            open_image(png_of(4, [bytes(12)], height=1, depth=8, colour=2, extra=extra))
        return bad.value.reason

    text = chunk(b"tEXt", b"who\0me")
    assert "the checksum of its tEXt chunk at byte 33 is wrong" in reason(text[:-1] + bytes([text[-1] ^ 1]))
    assert "take too much memory" in reason(chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(3_000_000))))
    assert "Apple's own form" in reason(chunk(b"CgBI", bytes(4)))


def test_a_chunk_inside_the_image_data_and_a_second_palette_are_damage() -> None:
    """Decoders stop at the one, and take either palette."""
    whole = png_of(4, [bytes(12)], height=1, depth=8, colour=2)
    start = whole.index(b"IDAT") - 4
    body = zlib.compress(bytes(13))
    parts = [chunk(b"IDAT", body[:5]), chunk(b"tEXt", b"who\0me"), chunk(b"IDAT", body[5:]), chunk(b"IEND", b"")]
    with pytest.raises(BadImage, match="a chunk tEXt lies inside its image data"):
        open_image(whole[:start] + b"".join(parts))
    assert open_image(whole[:start] + b"".join([parts[0], *parts[2:]])).rgb.max() == 0

    colours = chunk(b"PLTE", bytes(3))
    with pytest.raises(BadImage, match="a second palette at byte 48"):
        open_image(png_of(1, [bytes(1)], height=1, depth=8, colour=3, extra=colours + colours))


@pytest.mark.parametrize(
    ("depth", "colour", "words"), [(3, 0, "3 bits and colours of type 0"), (8, 5, "of type 5"), (16, 3, "16 bits")]
)
def test_a_header_that_png_does_not_have_is_named(depth: int, colour: int, words: str) -> None:
    with pytest.raises(BadImage, match=words):
        open_image(png_of(1, [bytes(8)], height=1, depth=depth, colour=colour))


def test_a_second_webp_behind_the_first_is_no_damage() -> None:
    """ImageMagick writes the frames of an animation one behind the other."""
    first, second = whole_file("webp", 0), whole_file("webp-lossless", 1)

    assert np.array_equal(open_image(first + second).rgb, open_image(first).rgb)


def test_other_bytes_behind_a_webp_are_damage() -> None:
    with pytest.raises(BadImage, match="4 bytes behind its stated end"):
        open_image(whole_file("webp", 0) + b"RIFF")
