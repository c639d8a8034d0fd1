"""Where the pictures of an AVIF or HEIC file lie in it: its boxes, and the items that they list."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class MediaItems:
    """The items of a file.

    Args:
        primary: number of the one that is shown.
        places: number → begin and end of its data; None for one that lies in pieces or in another box.
        kinds: number → its kind in four letters, such as `hvc1` (coded with HEVC) or `grid` (put together of others).
    """

    primary: int
    places: Mapping[int, tuple[int, int] | None]
    kinds: Mapping[int, bytes]

    @property
    def place(self) -> tuple[int, int] | None:
        """Begin and end of the data of the picture that is shown; None where it is not in one piece."""
        return self.places.get(self.primary)


def read_items(data: bytes) -> MediaItems:
    """The items of a file.

    Raises:
        ValueError, KeyError, IndexError, struct.error: the structure is another one, or breaks off.

    Source: ISO/IEC 14496-12, 8.11.1 (meta), 8.11.3 (iloc), 8.11.4 (pitm), 8.11.6 (iinf).
    """
    begin, end = {name: (begin, end) for name, begin, end in boxes(data, 0, len(data))}[b"meta"]
    inside = {name: (begin, end) for name, begin, end in boxes(data, begin + 4, end)}
    begin = inside[b"pitm"][0]
    primary = struct.unpack_from(">I" if data[begin] else ">H", data, begin + 4)[0]
    return MediaItems(primary, dict(_locations(data, inside[b"iloc"][0])), dict(_kinds(data, *inside[b"iinf"])))


def _kinds(data: bytes, begin: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Number and kind of each item."""
    for name, start, _ in boxes(data, begin + (8 if data[begin] else 6), end):
        if name == b"infe" and data[start] >= 2:
            is_wide = data[start] >= 3
            number = struct.unpack_from(">I" if is_wide else ">H", data, start + 4)[0]
            kind = start + (10 if is_wide else 8)
            yield number, data[kind : kind + 4]


def boxes(data: bytes, position: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, begin and end of the content of each box."""
    while position + 8 <= end:
        size, name = struct.unpack_from(">I4s", data, position)
        head = 8
        if size == 1:
            size, head = struct.unpack_from(">Q", data, position + 8)[0], 16
        size = size or end - position
        if size < head:
            raise ValueError(name)
        yield name, position + head, position + size
        position += size


def _locations(data: bytes, begin: int) -> Iterator[tuple[int, tuple[int, int] | None]]:
    """Number and place of each item; None for one that lies in pieces or in another box than the file itself."""
    version = data[begin]
    widths = [nibble for byte in data[begin + 4 : begin + 6] for nibble in (byte >> 4, byte & 15)]
    wide = 4 if version == 2 else 2
    position = begin + 6

    def number(width: int) -> int:
        nonlocal position
        position += width
        return int.from_bytes(data[position - width : position], "big")

    for _ in range(number(wide)):
        item = number(wide)
        is_elsewhere = bool(version) and bool(number(2) & 15)
        number(2)
        base, pieces = number(widths[2]), []
        for _ in range(number(2)):
            number(widths[3] if version else 0)
            offset, length = number(widths[0]), number(widths[1])
            pieces.append((base + offset, base + offset + length))
        yield item, pieces[0] if len(pieces) == 1 and not is_elsewhere else None
