"""Whether a decoder uses image data to their end: in WebP, AVIF and HEIC what is left over tells of damage.

All code a picture as one stream without marks or checksums. A changed byte makes the decoder read everything behind it
as other symbols; it has its pixels before the data end (or misses data, which some report and others conceal) and says
nothing. An encoder writes no byte more than it needs, so other bytes at the end must change the picture.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import numpy as np
from PIL import Image

from headstart.data.heic_tiles import unused_tile_data
from headstart.data.hevc_stream import last_slice
from headstart.data.media_items import read_items

_LAST = 16  # bytes that are exchanged: encoders pad their streams with four at most …
_LAST_OF_BLOCKS = 64  # … and where the last block lies partly outside the picture, its last 3 × 16 values are not seen
_LEAST_SHARE = 3  # so many times these bytes of data: below, there is too little to tell
_EXCHANGE = 0x5A  # half of the bits
_HEVC_BLOCK = 64  # pixels: encoders fill up smaller pictures


def unused_data(image: Image.Image, data: bytes) -> str | None:
    """Damage that shows in image data that no pixel depends on; None where there is none, or where it cannot be told.

    Args:
        image: decoded, of format WEBP, AVIF or HEIF.
        data: the bytes of its file.
    """
    try:
        if image.format == "HEIF" and (said := unused_tile_data(image, data)):
            return said
        first, end = _STREAMS[str(image.format)](data) or (0, 0)
    except (struct.error, IndexError, ValueError, KeyError):
        return None  # another structure than the usual one
    if image.format == "HEIF" and min(image.size) <= _HEVC_BLOCK:
        return None  # what is coded is larger than the picture, and ends outside
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
    """Whether whole 4×4 blocks at the end of the data may lie outside the picture; in VP8 its size tells."""
    half_used = 0 < image.width % 16 <= 8 or 0 < image.height % 16 <= 8  # of the last 16×16 pixels
    return image.format in ("AVIF", "HEIF") or (chunk[:4] == b"VP8 " and half_used)


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
    """Begin and end of the primary item, where it is a picture in one piece."""
    return read_items(data).place


_STREAMS: dict[str, Callable[[bytes], tuple[int, int] | None]] = {
    "WEBP": _webp_stream,
    "AVIF": _avif_stream,
    "HEIF": last_slice,
}
