"""Whether a decoder uses image data to their end: in WebP and AVIF what is left over tells of damage.

Both code a picture as one stream without marks or checksums. A changed byte makes the decoder read everything behind it
as other symbols; it has its pixels before the data end (or misses data, which decoders report) and says nothing. An
encoder writes no byte more than it needs, so other bytes at the end must change the picture.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator

import numpy as np
from PIL import Image

_LAST = 16  # bytes that are exchanged: encoders pad their streams with four at most …
_LAST_OF_BLOCKS = 64  # … and where the last block lies partly outside the picture, its last 3 × 16 values are not seen
_LEAST_SHARE = 3  # so many times these bytes of data: below, there is too little to tell
_EXCHANGE = 0x5A  # half of the bits


def unused_data(image: Image.Image, data: bytes) -> str | None:
    """Damage that shows in image data that no pixel depends on; None where there is none, or where it cannot be told.

    Args:
        image: decoded, of format WEBP or AVIF.
        data: the bytes of its file.
    """
    try:
        first, end = {"WEBP": _webp_stream, "AVIF": _avif_stream}[str(image.format)](data) or (0, 0)
    except (struct.error, IndexError, ValueError, KeyError):
        return None  # another structure than the usual one
    count = _LAST_OF_BLOCKS if _may_end_outside(image, data[first - 8 : first]) else _LAST
    if end - first < _LEAST_SHARE * count:
        return None
    begin = end - count
    last = bytes(byte ^ _EXCHANGE for byte in data[begin:end])
    try:
        other = Image.open(io.BytesIO(data[:begin] + last + data[end:]), formats=(str(image.format),))
        is_same = np.array_equal(np.asarray(other), np.asarray(image))
    except Exception:  # decoders raise anything; then the bytes were used
        return None
    return f"damaged (no pixel depends on the last {count} bytes of its image data)" if is_same else None


def _may_end_outside(image: Image.Image, chunk: bytes) -> bool:
    """Whether whole 4×4 blocks at the end of the data may lie outside the picture: in AVIF, and in VP8 by its size."""
    half_used = 0 < image.width % 16 <= 8 or 0 < image.height % 16 <= 8  # of the last 16×16 pixels
    return image.format == "AVIF" or (chunk[:4] == b"VP8 " and half_used)


def _webp_stream(data: bytes) -> tuple[int, int] | None:
    """Begin and end of the first frame's picture.

    Source: RFC 9649, 2.5 to 2.7 (VP8 and VP8L chunks, ANMF).
    """
    position, end = 12, struct.unpack_from("<I", data, 4)[0] + 8
    while position + 8 <= end:
        name, length = struct.unpack_from("<4sI", data, position)
        if name in (b"VP8 ", b"VP8L"):
            return position + 8, position + 8 + length
        position += 24 if name == b"ANMF" else 8 + length + (length & 1)  # a frame holds chunks behind 16 bytes
    return None


def _avif_stream(data: bytes) -> tuple[int, int] | None:
    """Begin and end of the primary item, where it is a picture in one piece.

    Source: ISO/IEC 14496-12, 8.11.1 (meta), 8.11.3 (iloc), 8.11.4 (pitm); 23008-12, 6.6.2 (derived images).
    """
    begin, end = {name: (begin, end) for name, begin, end in _boxes(data, 0, len(data))}[b"meta"]
    inside = {name: (begin, end) for name, begin, end in _boxes(data, begin + 4, end)}
    begin = inside[b"pitm"][0]
    primary = struct.unpack_from(">I" if data[begin] else ">H", data, begin + 4)[0]
    return next((place for item, place in _locations(data, inside[b"iloc"][0]) if item == primary), None)


def _boxes(data: bytes, position: int, end: int) -> Iterator[tuple[bytes, int, int]]:
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
