"""Whether the LZW codes of a TIFF or GIF make exactly the picture that the header states.

Decoders stop at the last pixel and say nothing about codes behind it, or fill in what is missing. LZW has no checksum,
but a changed code nearly always stands for another number of bytes, so the sum tells. Nothing is unpacked: each code
adds one string to the table, one byte longer than an earlier one, and lengths are all that is counted.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFile

_MOST_WIDTH = 12  # bits of a code, in both formats
_USUAL_BLOCK = 4200  # codes between two clear codes, a little more than the table holds
_LONGEST_BLOCK = 1 << 20  # codes: a GIF need not clear its table; what is longer is left to the decoder
_RGB_OR_GREY = (0, 1, 2, 3, 4, 5)  # photometric interpretations whose samples are all stored: not YCbCr


class _NotInTable(ValueError):
    """A code that stands for nothing yet."""


def lzw_damage(image: ImageFile.ImageFile, data: bytes) -> str | None:
    """Why the codes of the first picture cannot be whole; None when they are, or when it is no LZW.

    Args:
        image: opened, of format GIF or TIFF.
        data: the bytes of its file, whose structure is known to be whole.
    """
    return _tiff_damage(image, data) if image.format == "TIFF" else _gif_damage(data)


def count_bytes(codes: bytes, root: int, *, is_gif: bool) -> int | None:
    """The number of bytes that the codes stand for, up to their end code; None when their table is never cleared.

    Args:
        codes: of one strip or frame.
        root: bits of a value: 8 in TIFF.
        is_gif: least significant bit first, and codes grow one later than in TIFF.

    Raises:
        ValueError: a code is not in the table.

    Source: TIFF 6.0, section 13; GIF89a, appendix F.
    """
    clear = 1 << root
    bits = 8 * len(codes)
    raw = np.frombuffer(codes + bytes(4), dtype=np.uint8)
    position, total, limit = 0, 0, _USUAL_BLOCK
    while position + root + 1 <= bits:
        widths = _widths(clear, limit, is_gif=is_gif)
        starts = position + np.concatenate([[0], np.cumsum(widths)[:-1]])
        fits = starts + widths <= bits
        block = _codes_at(raw, starts[fits], widths[fits], is_gif=is_gif)
        ends = np.flatnonzero((block == clear) | (block == clear + 1))
        if not len(ends) and len(block) == limit:
            if limit > _LONGEST_BLOCK:
                return None
            limit *= 2
            continue
        stop = int(ends[0]) if len(ends) else len(block)
        total += int(_lengths(block[:stop], clear).sum())
        if not len(ends) or block[stop] == clear + 1:
            break
        position, limit = int(starts[stop] + widths[stop]), _USUAL_BLOCK
    return total


def _widths(clear: int, count: int, *, is_gif: bool) -> NDArray[np.int64]:
    """Bits of the first, second, … code behind a clear code."""
    largest = np.arange(count) + clear + (1 if is_gif else 2)
    return np.minimum(np.floor(np.log2(largest)).astype(np.int64) + 1, _MOST_WIDTH)


def _codes_at(
    raw: NDArray[np.uint8], starts: NDArray[np.int64], widths: NDArray[np.int64], *, is_gif: bool
) -> NDArray[np.int64]:
    at, bit = starts >> 3, starts & 7
    first, second, third = (raw[at + i].astype(np.int64) for i in range(3))  # 12 bits lie in three bytes at most
    three = first | second << 8 | third << 16 if is_gif else first << 16 | second << 8 | third
    codes: NDArray[np.int64] = (three >> (bit if is_gif else 24 - bit - widths)) & ((1 << widths) - 1)
    return codes


def _lengths(block: NDArray[np.int64], clear: int) -> NDArray[np.int64]:
    """Bytes that each code of a block stands for."""
    order = np.arange(len(block))
    entry = block - (clear + 2)  # the string that was added after code `entry` + 1: that code's, and one byte
    is_root = block < clear
    if np.any(~is_root & (entry >= order)):
        raise _NotInTable
    lengths = np.ones(len(block), dtype=np.int64)
    parent = np.where(is_root, order, entry)
    lengths[is_root] = 0  # of the steps; one is added below
    while True:  # steps to a root, by doubling
        further = lengths[parent]
        if not further.any():
            return lengths + 1
        lengths += further
        parent = parent[parent]


def _gif_damage(data: bytes) -> str | None:
    flags = data[10]
    position = 13 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)
    while data[position] == 0x21:
        _, position = _blocks(data, position + 2)
    width, height, flags = struct.unpack_from("<HHB", data, position + 5)
    position += 10 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)
    root = data[position]
    if not 1 <= root <= 8:
        return None  # the decoder decides
    codes, _ = _blocks(data, position + 1)
    return _unlike(codes, root, {width * height}, is_gif=True)


def _blocks(data: bytes, position: int) -> tuple[bytes, int]:
    """The content of a chain of blocks, and the place behind it."""
    parts = []
    while data[position]:
        parts.append(data[position + 1 : position + 1 + data[position]])
        position += data[position] + 1
    return b"".join(parts), position + 1


def _tiff_damage(image: ImageFile.ImageFile, data: bytes) -> str | None:
    tags = image.tag_v2  # type: ignore[attr-defined]
    is_other = tags.get(262, 1) not in _RGB_OR_GREY or tags.get(266, 1) != 1
    if tags.get(259, 1) != 5 or is_other:
        return None
    tiled = 322 in tags
    places = zip(_numbers(tags[324 if tiled else 273]), _numbers(tags[325 if tiled else 279]), strict=False)
    width, height = (int(tags[322]), int(tags[323])) if tiled else (int(tags[256]), int(tags[257]))
    rows = height if tiled else min(int(tags.get(278, height)), height)
    bits = _numbers(tags.get(258, (1,)))
    apart = tags.get(284, 1) == 2
    row = -(-width * (bits[0] if apart else sum(bits)) // 8)
    strips = -(-height // rows)
    for number, (offset, count) in enumerate(places):
        part = data[offset : offset + count]
        if part[:1] == b"\0" and part[1:2] and part[1] & 1:
            return None  # as before TIFF 6.0: the least significant bit first
        is_last = not tiled and number % strips == strips - 1
        wanted = {rows * row, (height - (strips - 1) * rows) * row} if is_last else {rows * row}  # some fill it up
        said = _unlike(part, 8, wanted, is_gif=False)
        if said:
            return said
    return None


def _numbers(value: object) -> tuple[int, ...]:
    return tuple(int(one) for one in value) if isinstance(value, tuple) else (int(value),)  # type: ignore[call-overload]


def _unlike(codes: bytes, root: int, wanted: set[int], *, is_gif: bool) -> str | None:
    try:
        count = count_bytes(codes, root, is_gif=is_gif)
    except _NotInTable:
        return "damaged (a code of its image data is not in their table)"
    if count is None or count in wanted:
        return None
    return f"damaged (its image data are {count:,} bytes unpacked; its size needs {min(wanted):,})"
