"""Formats that store pixels as they are (BMP, PPM, plain TIFF): where they lie, and zeros where none can be.

These formats have no checksum, and zeros are black pixels like any others. But a picture does not break off in the
middle of a row, below bright pixels, and stay black without a single other value for more than a row: that is what an
interrupted copy or a lost block leaves behind. Bytes of a TIFF that nothing refers to are as odd.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFile

from headstart.data.fax_codes import fax_suspicion

_ZEROS = bytes(64)  # in a row: shorter runs are of no interest
_RUN = re.compile(rb"\0+")
_BESIDE = 6  # bytes of the broken row on each side of the break: at its ends a picture may well change
_DARK = 16  # grey levels: a row of larger values is bright; …
_DARK_SHARE = 1 / 64  # … of more than 8 bits those above so much of the largest one
_LEAST_VALUES = 3  # different ones in a row: drawings may break off anywhere; …
_LEAST_DEEP_VALUES = 8  # … of more than 8 bits, where noise alone gives some
_BRIGHT_SHARE = 0.9  # of a row's values; a row of a BMP ends with up to three zeros
_SPARE = 3  # bytes at the end of a TIFF: padding to a word
_SHARED = 512  # bytes: the values of a directory take no more
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # of TIFF values
_FOLDERS = (330, 34665, 34853, 40965)  # tags that point to further directories
_DATA = {273: 279, 324: 325, 513: 514}  # tags of offsets → of lengths


class Stored(NamedTuple):
    """Pixels in a file, row after row: first byte, byte behind the last, bytes of a row, largest value, kind of values.

    The kind is NumPy's name, with its byte order.
    """

    begin: int
    end: int
    row: int
    most: int = 255
    kind: str = "u1"


def suspicion(image: ImageFile.ImageFile, data: bytes) -> str | None:
    """Why an image that could be decoded is probably damaged, for people; None without a reason.

    Args:
        image: opened.
        data: the bytes of its file.
    """
    try:
        stored = LAYOUTS[str(image.format)](image, data) if image.format in LAYOUTS else None
        found = zero_run(data, stored) if stored else None
        if found:
            return f"possibly damaged ({found[1]:,} zeros from byte {found[0]:,} on break into its pixels)"
        said = fax_suspicion(image, data) if image.format == "TIFF" else None
        surplus = _surplus(data) if image.format == "TIFF" and not said else 0
    except (struct.error, IndexError, KeyError, TypeError, ValueError, OSError):
        return None  # a rare layout; what is wrong in it was found before
    if said:
        return said
    return f"possibly damaged ({surplus:,} bytes at its end that nothing refers to)" if surplus else None


def zero_run(data: bytes, stored: Stored) -> tuple[int, int] | None:
    """First byte and length of a run of zeros that breaks into a picture; None without one."""
    begin, end, row, _, kind = stored
    size = np.dtype(kind).itemsize
    beside = max(_BESIDE, 2 * size)

    def is_picture(first: int, last: int) -> bool:
        values = np.frombuffer(data, kind, (last - first) // size, first)
        least = _LEAST_VALUES if size == 1 else min(_LEAST_DEEP_VALUES, len(values) // 2 + 1)
        return _is_picture(values, dark, least)

    dark = 0.0
    for first, last in _runs(data, begin, end):
        first += -(first - begin) % size  # a value may end with zeros, and the one behind them begin so
        last -= (last - begin) % size
        if last - first < row + beside or first - row < begin:
            continue
        before, after = (first - begin) % row, (last - begin) % row  # bytes of the rows in which it begins and ends
        if min(before, row - before) < beside:
            continue
        dark = dark or _dark(data, stored)
        if not is_picture(first - row, first - before):
            continue
        is_end = last == end or (min(after, row - after) >= beside and is_picture(last, last + row - after))
        if is_end and is_picture(first - before, first):
            return first, last - first
    return None


def _dark(data: bytes, stored: Stored) -> float:
    """The value that bright pixels are above."""
    if np.dtype(stored.kind).itemsize == 1:
        return _DARK
    values = np.frombuffer(data[stored.begin : stored.end], stored.kind).astype(np.float64)
    share = _DARK_SHARE * float(np.abs(values[np.isfinite(values)]).max(initial=0))
    return share if "f" in stored.kind else max(share, _DARK)


def ends_in_zeros(data: bytes, count: int = 16) -> bool:
    """Whether so many last bytes are zero."""
    return not any(data[-count:])


def _runs(data: bytes, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """First byte and byte behind the last of each run of at least 64 zeros; `find` is 30 times as fast as a pattern."""
    while (first := data.find(_ZEROS, begin, end)) >= 0:
        found = _RUN.match(data, first, end)
        begin = found.end() if found else end
        yield first, begin


def _is_picture(values: NDArray[np.generic], dark: float, least: int) -> bool:
    """Whether these values of a row are bright and at least so many differ."""
    magnitudes = np.abs(values.astype(np.float64))
    return len(np.unique(magnitudes)) >= least and float(np.mean(magnitudes > dark)) >= _BRIGHT_SHARE


def bmp_layout(image: ImageFile.ImageFile, data: bytes) -> Stored | None:
    """Where the pixels of a BMP must lie; None for one that is packed, or of OS/2.

    Source: BITMAPFILEHEADER and BITMAPINFOHEADER of the Windows API.
    """
    begin, header = struct.unpack_from("<II", data, 10)
    if header < 40:
        return None
    width, height, bits, packing = struct.unpack_from("<ii2xHI", data, 18)
    if packing not in (0, 3):
        return None
    row = -(-width * bits // 32) * 4
    return Stored(begin, begin + row * abs(height), row)


def ppm_layout(image: ImageFile.ImageFile, data: bytes) -> Stored | None:
    """Where the pixels of a binary netpbm must lie.

    Source: netpbm, formats pbm, pgm and ppm.
    """
    between = rb"(?:\s|#[^\n]*\n)+"
    found = re.match(rb"P(4)" + between + rb"(\d+)" + between + rb"(\d+)", data)
    found = found or re.match(rb"P([56])" + between + rb"(\d+)" + between + rb"(\d+)" + between + rb"(\d+)", data)
    if not found:
        return None
    width, height, most = int(found[2]), int(found[3]), 255
    if found[1] == b"4":
        row = -(-width // 8)
    else:
        row = width * (3 if found[1] == b"6" else 1) * (2 if int(found[4]) > 255 else 1)
        most = int(found[4])
    return Stored(found.end() + 1, found.end() + 1 + row * height, row, most, kind=">u2" if most > 255 else "u1")


def _tiff_layout(image: ImageFile.ImageFile, data: bytes) -> Stored | None:
    """Where the pixels of a plain TIFF lie; None where they are packed, in tiles, or not in one piece."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    if tags.get(259, 1) != 1 or tags.get(284, 1) != 1 or 273 not in tags:
        return None
    offsets, counts = tags[273], tags[279]
    ends = [offset + count for offset, count in zip(offsets, counts, strict=True)]
    row = -(-int(tags[256]) * sum(tags.get(258, (1,))) // 8)
    is_one = ends[:-1] == list(offsets[1:]) and sum(counts) == row * int(tags[257])
    bits, kind = tags.get(258, (1,))[0], {2: "i", 3: "f"}.get(tags.get(339, (1,))[0], "u")
    order = "<" if data[:2] == b"II" else ">"
    name = f"{order}{kind}{bits // 8}" if bits in (16, 32, 64) else "u1"
    return Stored(offsets[0], ends[-1], row, kind=name) if is_one else None


LAYOUTS = {"BMP": bmp_layout, "PPM": ppm_layout, "TIFF": _tiff_layout}


def _surplus(data: bytes) -> int:
    """Bytes behind everything that the directories of a TIFF refer to, if they are more than padding."""
    if data[2:4] not in (b"*\0", b"\0*"):
        return 0
    last = max(_ends(data, "<" if data[:2] == b"II" else ">"), default=len(data))
    rest = data[last:]
    if len(rest) <= _SPARE or not rest.strip(b"\0"):
        return 0
    # writers of several pages leave the values of the last directory behind when it shares those of another
    return 0 if len(rest) <= _SHARED and data.find(rest) < last else len(rest)


def _ends(data: bytes, order: str) -> Iterator[int]:
    """The byte behind each directory, value and piece of image data of a TIFF.

    Source: TIFF 6.0, section 2.
    """
    waiting, seen = [int(struct.unpack_from(order + "I", data, 4)[0])], set()
    while waiting:
        place = waiting.pop()
        if not place or place in seen:
            continue
        seen.add(place)
        (count,) = struct.unpack_from(order + "H", data, place)
        values = {}
        for entry in range(place + 2, place + 2 + 12 * count, 12):
            tag, kind, number = struct.unpack_from(order + "HHI", data, entry)
            size = _TYPE_BYTES[kind] * number
            where = int(struct.unpack_from(order + "I", data, entry + 8)[0]) if size > 4 else entry + 8
            yield where + size
            if tag in (*_FOLDERS, *_DATA, *_DATA.values()):
                values[tag] = struct.unpack_from(f"{order}{number}{'H' if kind == 3 else 'I'}", data, where)
        for offsets, lengths in _DATA.items():
            yield from (a + b for a, b in zip(values.get(offsets, ()), values.get(lengths, ()), strict=False))
        waiting += [one for tag in _FOLDERS for one in values.get(tag, ())]
        waiting += struct.unpack_from(order + "I", data, place + 2 + 12 * count)
        yield place + 6 + 12 * count
