"""TIFF files tag by tag, as no writer makes them."""

from __future__ import annotations

import struct


def tiff(pixels: bytes, order: str = "<", *, big: bool = False, **tags: int) -> bytes:
    """A TIFF of 2×2 pixels in one strip; tags by their numbers, as t258=8."""
    entries = {256: 2, 257: 2, 258: 8, 259: 1, 262: 1, 277: 1, 278: 2, 279: len(pixels)}
    entries |= {int(name[1:]): value for name, value in tags.items()}
    size, head = (20, 16) if big else (12, 8)
    start = head + (8 if big else 2) + size * (len(entries) + 1) + (8 if big else 4)
    entries[273] = start
    mark = b"II" if order == "<" else b"MM"
    data = mark + (struct.pack(order + "HHHQ", 43, 8, 0, head) if big else struct.pack(order + "HI", 42, head))
    data += struct.pack(order + ("Q" if big else "H"), len(entries))
    for tag, value in sorted(entries.items()):
        data += struct.pack(order + ("HHQIxxxx" if big else "HHII"), tag, 4, 1, value)
    return data + bytes(8 if big else 4) + pixels
