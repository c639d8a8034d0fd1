"""The pages of a TIFF: which of them is the picture, where programs put a thumbnail or a mask before it."""

from __future__ import annotations

import struct
from typing import NamedTuple

from headstart.data.tiff_layout import byte_order, directory, first_place

_MOST_PAGES = 10_000
_KIND, _OLD_KIND = 254, 255  # NewSubfileType, SubfileType
_REDUCED, _MASK, _OLD_REDUCED = 1, 4, 2
MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""How a TIFF or a BigTIFF begins."""


class Pages(NamedTuple):
    """Where the pages of a TIFF lie.

    Args:
        places: of their directories, in the order of the file. main: number, from 0, of the first that is neither a
            reduced copy nor a mask; 0 where all are. is_copy: whether that page says of itself that it is one.
        is_broken: whether the last one refers to a next page that is not in the file.
    """

    places: tuple[int, ...] = ()
    main: int = 0
    is_copy: bool = False
    is_broken: bool = False


def read_pages(data: bytes) -> Pages:
    """The pages of a file; none for other formats, and where the first directory is not whole.

    Source: TIFF 6.0, sections 2 and 8 (NewSubfileType, and the older SubfileType).
    """
    if not data.startswith(MARKS):
        return Pages()
    order, is_big = byte_order(data)
    places: list[int] = []
    try:
        place = first_place(data)
        while place and place not in places[-1:] + places[:1] and len(places) < _MOST_PAGES:
            (entries,) = struct.unpack_from(order + ("Q" if is_big else "H"), data, place)
            behind = place + (8 + 20 * entries if is_big else 2 + 12 * entries)
            (after,) = struct.unpack_from(order + ("Q" if is_big else "I"), data, behind)
            places.append(place)
            place = int(after)
    except struct.error:
        return _pages(data, places, is_broken=bool(places))
    return _pages(data, places, is_broken=False)


def _pages(data: bytes, places: list[int], *, is_broken: bool) -> Pages:
    main = next((number for number, place in enumerate(places) if not _is_copy(data, place)), None)
    return Pages(tuple(places), main or 0, is_copy=main is None and bool(places), is_broken=is_broken)


def _is_copy(data: bytes, place: int) -> bool:
    try:
        tags = directory(data, place)
    except (struct.error, ValueError):
        return False  # not whole: the decoder decides
    return bool(tags.get(_KIND, 0) & (_REDUCED | _MASK)) or tags.get(_OLD_KIND) == _OLD_REDUCED


def with_first(data: bytes, place: int) -> bytes:
    """The same file, in which the directory at this place is the first."""
    order, is_big = byte_order(data)
    at, kind = (8, "Q") if is_big else (4, "I")
    return data[:at] + struct.pack(order + kind, place) + data[at + struct.calcsize(kind) :]
