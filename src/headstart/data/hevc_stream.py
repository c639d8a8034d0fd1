"""Whether the HEVC data of a HEIC file are whole: its decoder conceals errors, so the data themselves are asked.

They are a chain of units, each with its length, which must add up to the length of the item. Inside a unit some
sequences of bytes cannot be: encoders break them up so that no start code appears.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from headstart.data.media_items import read_items

_FORBIDDEN = re.compile(rb"\0\0(?:[\0\x01\x02]|\x03[^\0\x01\x02\x03])")
_SLICES = range(32)  # kinds of units that hold pixels; the others are parameters and remarks


def hevc_damage(data: bytes) -> str | None:
    """The reason why a HEIC file cannot be whole, for people; None when none is found, or where it is put together
    in another way than usual.

    Source: ISO/IEC 14496-15, 8.3 (lengths); ITU H.265, 7.3.1 (header of a unit) and 7.4.2 (emulation prevention).
    """
    items = read_items(data)
    for number, place in items.places.items():
        if place is None or items.kinds.get(number) != b"hvc1":
            continue
        begin, end = place
        if end > len(data):
            return f"truncated or damaged (image data at byte {begin:,} end behind the file)"
        try:
            units = list(_units(data, begin, end))
        except ValueError as error:
            return f"damaged (the image data at byte {begin:,} are not whole: {error})"
        for first, last in units:
            if found := _FORBIDDEN.search(data, first, last):
                return f"damaged (bytes at {found.start():,} that cannot be in its image data)"
    return None


def last_slice(data: bytes, item: int | None = None) -> tuple[int, int] | None:
    """Begin and end of the last unit that holds pixels; None where the picture is put together.

    Args:
        item: number of a picture; None: the one that is shown.
    """
    items = read_items(data)
    number = items.primary if item is None else item
    place = items.places.get(number)
    if place is None or items.kinds.get(number) != b"hvc1":
        return None
    slices = [unit for unit in _units(data, *place) if (data[unit[0]] >> 1) & 63 in _SLICES]
    return slices[-1] if slices else None


def _units(data: bytes, position: int, end: int) -> Iterator[tuple[int, int]]:
    """Begin and end of each unit.

    Raises:
        ValueError: they are no chain.
    """
    while position < end:
        length = struct.unpack_from(">I", data, position)[0] if position + 4 <= end else 0
        first, position = position + 4, position + 4 + length
        if length < 2 or position > end:
            raise ValueError("lengths that do not add up")
        if data[first] & 0x80 or not data[first + 1] & 7:
            raise ValueError("a unit without its header")
        yield first, position
