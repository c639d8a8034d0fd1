"""JPEG data that read as brightness beyond white or below black, which no encoder writes.

The mean of each block of 8×8 pixels is stored as the difference to that of the block before. Where bytes are changed or
missing, later differences are added to a wrong value, often until it lies out of range; decoders clip it and say
nothing. To see it, the means alone are decoded a second time (a picture of an eighth of the sides), with quantisation
steps of half their size, so that twice the range is left before a value is clipped.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headstart.data.jpeg_damage import segments

try:  # optional: Pillow cannot decode without converting colours
    import simplejpeg
except ImportError:
    simplejpeg = None

_COLOURS = {1: "GRAY", 3: "RGB", 4: "CMYK"}  # by number of components
_AS_STORED = bytes.fromhex("ffee 000e 41646f6265 0064 0000 0000 00")  # Adobe's segment: colours are not converted
_JFIF, _ADOBE, _TABLES, _SCAN = 0xE0, 0xEE, 0xDB, 0xDA
_PROGRESSIVE = (0xC2, 0xCA)
_FRAMES = (0xC0, 0xC1, 0xC9, *_PROGRESSIVE)
_FULL = 1024  # largest coefficient of a block's mean before it is divided by its step: 8 × 128 (ITU T.81, A.3.3)
_STEPS = 1.5  # that an encoder may be off: half a step by rounding, one more by its choice of cheap values
_SPARE = 16  # units of the coefficient: inexact transforms
_LEAST_CLIPPED = 0.01  # of all blocks: less is hardly worth a second decoding


class _Component(NamedTuple):
    """Of a frame: blocks across and down in a unit of the scan, and the number of its quantisation table."""

    across: int
    down: int
    table: int


def beyond_range(data: bytes) -> str | None:
    """Damage of a JPEG with a block that is brighter than white or darker than black in one of its components.

    It takes half as long as decoding; pixels tell beforehand where it is worth it (`has_clipped_blocks`).
    """
    if simplejpeg is None:
        return None
    try:
        halved, components, steps = _with_half_steps(data)
        means = simplejpeg.decode_jpeg(
            halved, colorspace=_COLOURS[len(components)], strict=False, min_width=1, min_height=1
        )
    except (ValueError, KeyError, IndexError, struct.error):
        return None  # another structure, or one that only Pillow can decode
    for number, component in enumerate(components):
        step = steps[component.table]
        bound = (_FULL + _STEPS * step + _SPARE) / 8 * (_half(step) / step) + 1  # one for rounding
        across, down = max(c.across for c in components), max(c.down for c in components)
        if across % component.across or down % component.down:
            continue
        blocks = _block_means(means[..., number], down // component.down, across // component.across)
        if bound < 128 and blocks.size and np.abs(blocks - 128).max() > bound:
            return "damaged (a part of it is brighter than white or darker than black)"
    return None


def has_clipped_blocks(rgb: NDArray[np.uint8]) -> bool:
    """Whether of H×W×3 one block of 8×8 in a hundred is clipped: all of four pixels have a value of 0 or 255."""
    bound = _LEAST_CLIPPED * (rgb.shape[0] // 8) * (rgb.shape[1] // 8)
    if np.count_nonzero(rgb[2::8, 2::8] - np.uint8(1) >= 254) <= bound:  # 0 wraps to 255; one of the four will do
        return False
    few = rgb[2::4, 2::4] - np.uint8(1) >= 254
    clipped = few[..., 0] | few[..., 1] | few[..., 2]
    rows, columns = clipped.shape[0] // 2 * 2, clipped.shape[1] // 2 * 2
    pairs = clipped[:rows:2] & clipped[1:rows:2]
    return bool(np.count_nonzero(pairs[:, :columns:2] & pairs[:, 1:columns:2]) > bound)


def _with_half_steps(data: bytes) -> tuple[bytes, list[_Component], dict[int, int]]:
    """The file with half of each step for means and its colours as they are stored; its components; its steps.

    Raises:
        ValueError, IndexError, struct.error: another structure than usual.
    """
    parts, last, steps = [data[:2], _AS_STORED], 2, dict[int, int]()
    components, is_progressive = list[_Component](), False
    for marker, start, end in segments(data):
        if marker in (_JFIF, _ADOBE):  # each says what the colours are
            parts.append(data[last:start])
            last = end
        elif marker == _TABLES:
            changed = bytearray(data[last:end])
            for place, size, number in _tables(data, start + 4, end):
                step = int.from_bytes(data[place : place + size], "big")
                if number in steps:
                    raise ValueError("a table that changes")
                steps[number] = step
                changed[place - last : place - last + size] = _half(step).to_bytes(size, "big")
            parts.append(bytes(changed))
            last = end
        elif marker in _FRAMES:
            places = range(start + 10, start + 10 + 3 * data[start + 9], 3)
            components = [_Component(data[at + 1] >> 4, data[at + 1] & 15, data[at + 2]) for at in places]
            is_progressive = marker in _PROGRESSIVE
        elif marker == _SCAN and not is_progressive and data[start + 4] == len(components):
            break  # all of the picture; without this the end of the data would be searched for
    if not all(c.across and c.down and c.table in steps for c in components):
        raise ValueError("a component without its table")
    return b"".join([*parts, data[last:]]), components, steps


def _tables(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Place and bytes of the first step of each quantisation table in a segment, and the table's number.

    Source: ITU T.81, B.2.4.1.
    """
    while at < end:
        size = 2 if data[at] >> 4 else 1
        yield at + 1, size, data[at] & 15
        at += 1 + 64 * size


def _half(step: int) -> int:
    return max(step // 2, 1)


def _block_means(values: NDArray[np.uint8], down: int, across: int) -> NDArray[np.float64]:
    """Means of so many values down and across, which a component of fewer blocks fills together."""
    rows, columns = values.shape[0] // down, values.shape[1] // across
    whole = values[: rows * down, : columns * across].reshape(rows, down, columns, across)
    means: NDArray[np.float64] = whole.mean(axis=(1, 3))
    return means
