"""Whether the decoder uses the data of every tile of a HEIC picture to their end, as phones write them.

The tiles are decoded a second time, all at once, with other bytes at the end of each; where a tile shows no change it
is decoded alone, since at the right and lower edge its end may lie outside the picture.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headstart.data.hevc_stream import last_slice
from headstart.data.media_items import boxes, read_items

_LAST = 64  # bytes that are exchanged, as in a picture of one piece
_LEAST_SHARE = 3  # so many times these bytes of data: below, there is too little to tell
_EXCHANGE = 0x5A  # half of the bits
_BLOCK = 64  # pixels: encoders fill up smaller pictures
_IS_HIDDEN = 1  # flag of an item that is only a part of others


def unused_tile_data(image: Image.Image, data: bytes) -> str | None:
    """Damage that shows in a tile whose last bytes no pixel depends on; None where there is none, or no tile.

    Args:
        image: decoded. data: the bytes of its file.

    Raises:
        ValueError, KeyError, IndexError, struct.error: the structure is another one than usual.
    """
    ends = {}  # tile → end of its data
    for number in _tiles(data):
        first, end = last_slice(data, number) or (0, 0)
        if end - first >= _LEAST_SHARE * _LAST:
            ends[number] = end
    if not ends:
        return None
    other = _exchanged(data, ends)
    for number in _without_change(image, data, other, tuple(ends)):
        if _is_same_alone(data, other, number):
            return f"damaged (no pixel depends on the last {_LAST} bytes of one of its tiles, at byte {ends[number]:,})"
    return None


def _tiles(data: bytes) -> tuple[int, ...]:
    """Numbers of the items that the picture is put together of, row by row; empty where it is in one piece.

    Source: ISO/IEC 14496-12, 8.11.12 (iref); 23008-12, 6.6.2.3 (grid).
    """
    items, inside = read_items(data), _meta(data)
    if items.kinds.get(items.primary) != b"grid":
        return ()
    begin, end = inside[b"iref"]
    letter, width = ("I", 4) if data[begin] else ("H", 2)
    for name, start, _ in boxes(data, begin + 4, end):
        source, count = struct.unpack_from(f">{letter}H", data, start)
        if name == b"dimg" and source == items.primary:
            return struct.unpack_from(f">{count}{letter}", data, start + width + 2)
    return ()


def _meta(data: bytes) -> Mapping[bytes, tuple[int, int]]:
    begin, end = next((begin, end) for name, begin, end in boxes(data, 0, len(data)) if name == b"meta")
    return {name: (begin, end) for name, begin, end in boxes(data, begin + 4, end)}


def _exchanged(data: bytes, ends: Mapping[int, int]) -> bytes:
    changed = bytearray(data)
    for end in ends.values():
        changed[end - _LAST : end] = bytes(byte ^ _EXCHANGE for byte in data[end - _LAST : end])
    return bytes(changed)


def _without_change(
    image: Image.Image, data: bytes, other: bytes, tiles: tuple[int, ...]
) -> Iterator[int]:  # four: a picture, its bytes, others, and where they differ
    """The tiles in whose place both files show the same; all of them where it cannot be seen which place is theirs."""
    every = _tiles(data)
    height, width = _alone(data, every[0]).shape[:2]
    if min(height, width) <= _BLOCK:
        return
    try:
        changed = np.rot90((_decoded(other) != np.asarray(image)).any(axis=-1), -_quarter_turns(data))
    except Exception:  # decoders raise anything
        changed = np.zeros((0, 0), bool)
    columns = -(-changed.shape[1] // width)
    is_usual = columns * -(-changed.shape[0] // height) == len(every)
    for place, number in enumerate(every):
        y, x = divmod(place, max(columns, 1))
        shows = is_usual and changed[y * height : (y + 1) * height, x * width : (x + 1) * width].any()
        if number in tiles and not shows:
            yield number


def _quarter_turns(data: bytes) -> int:
    """Quarter turns to the left that the picture is shown with.

    Source: ISO/IEC 23008-12, 6.5.10 (irot).
    """
    begin, end = _meta(data)[b"iprp"]
    begin, end = next((begin, end) for name, begin, end in boxes(data, begin, end) if name == b"ipco")
    return next((data[begin] & 3 for name, begin, _ in boxes(data, begin, end) if name == b"irot"), 0)


def _is_same_alone(data: bytes, other: bytes, number: int) -> bool:
    try:
        return np.array_equal(_alone(data, number), _alone(other, number))
    except Exception:  # decoders raise anything; then the bytes were used
        return False


def _alone(data: bytes, number: int) -> NDArray[np.uint8]:
    """One tile as the picture of the file."""
    inside, changed = _meta(data), bytearray(data)
    begin = inside[b"pitm"][0]
    struct.pack_into(">I" if data[begin] else ">H", changed, begin + 4, number)
    begin, end = inside[b"iinf"]
    for _, start, _ in boxes(data, begin + (8 if data[begin] else 6), end):
        if struct.unpack_from(">I" if data[start] >= 3 else ">H", data, start + 4)[0] == number:
            changed[start + 3] &= ~_IS_HIDDEN
    return _decoded(bytes(changed))


def _decoded(data: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data), formats=("HEIF",)) as image:
        return np.asarray(image)
