"""Damage of TIFF files: strips and tiles that are missing, break off, or do not unpack."""

from __future__ import annotations

import zlib

from PIL import ImageFile

from headstart.data.jpeg_damage import ZEROS, libjpeg_warning
from headstart.data.jpeg_range import beyond_range
from headstart.data.stored_pixels import ends_in_zeros

_DEFLATE = (8, 32946)
_JPEG, _LZW = 7, 5
_MIRRORED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))  # each byte with its first bit as its last


def check_tiff(image: ImageFile.ImageFile, data: bytes) -> str | None:
    """Every strip or tile lies in the file, there are enough of them, and packed ones unpack with their checksum.

    Source: TIFF 6.0, sections 3 (strips) and 15 (tiles); Adobe Technical Note 3 (Deflate).
    """
    tags = image.tag_v2  # type: ignore[attr-defined]
    width, height = int(tags[256]), int(tags[257])
    tiled = 322 in tags
    offsets, counts = _numbers(tags.get(324 if tiled else 273)), _numbers(tags.get(325 if tiled else 279))
    planes = int(tags.get(277, 1)) if tags.get(284, 1) == 2 else 1
    if tiled:
        needed = -(-width // tags[322]) * -(-height // tags[323]) * planes
    else:
        needed = -(-height // min(max(int(tags.get(278, height)), 1), height)) * planes
    if len(offsets) < needed:
        return f"damaged ({len(offsets)} of {needed} {'tiles' if tiled else 'strips'})"
    for offset, count in zip(offsets, counts, strict=False):
        if offset + count > len(data):
            return f"truncated or damaged (image data at byte {offset:,} ends behind the file)"
    samples = sum(_numbers(tags.get(258, (1,)))) if planes == 1 else int(_numbers(tags.get(258, (1,)))[0]) * planes
    row = -(-width * samples // 8)
    if tags.get(259, 1) == 1 and not tiled and counts and sum(counts) < row * height:
        return f"damaged ({sum(counts):,} of {row * height:,} bytes of image data)"
    parts = (data[offset : offset + count] for offset, count in zip(offsets, counts, strict=False))
    packing = tags.get(259, 1)
    if packing in _DEFLATE:
        if tags.get(266, 1) == 2:  # FillOrder: the bits of each byte are stored from the last to the first
            parts = (part.translate(_MIRRORED) for part in parts)
        return next((said for said in map(_zlib_damage, parts) if said), None)
    if packing == _JPEG:
        tables, colours = bytes(tags.get(347, b"")), "GRAY" if planes > 1 or int(tags.get(277, 1)) == 1 else "RGB"
        if tables and (tables[:2], tables[-2:]) != (b"\xff\xd8", b"\xff\xd9"):
            return "damaged (the tables of its JPEG data are not whole)"
        whole = (tables[:-2] + part[2:] if tables else part for part in parts)  # without end mark, without start mark
        return next(
            (said for said in (libjpeg_warning(part, colours) or beyond_range(part) for part in whole) if said), None
        )
    if packing == _LZW and any(ends_in_zeros(part) for part in parts if len(part) > 2 * ZEROS):
        return "truncated or damaged (its image data end in zeros)"
    return None


def _numbers(value: object) -> tuple[int, ...]:
    if value is None:
        return ()
    return tuple(int(one) for one in value) if isinstance(value, tuple) else (int(value),)  # type: ignore[call-overload]


def _zlib_damage(packed: bytes) -> str | None:
    """Unpack without keeping anything, so that the checksum at the end is reached."""
    stream = zlib.decompressobj()
    try:
        stream.decompress(packed, 1 << 20)
        while stream.unconsumed_tail:
            stream.decompress(stream.unconsumed_tail, 1 << 20)
        while not stream.eof and stream.decompress(b"", 1 << 20):
            pass
    except zlib.error as error:
        return f"damaged ({error})"
    return None if stream.eof else "truncated (its packed data break off)"
