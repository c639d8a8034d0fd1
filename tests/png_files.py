"""PNG files chunk by chunk, as no writer makes them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence


def chunk(name: bytes, body: bytes) -> bytes:
    """One chunk with its checksum."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_of(width: int, rows: Sequence[bytes], *, height: int, depth: int, colour: int, extra: bytes = b"") -> bytes:
    """A PNG of these rows, unfiltered; `extra` is put before its image data."""  # no more of them can be left out
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + pixels + chunk(b"IEND", b"")
