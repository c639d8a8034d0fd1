"""Steps in the colours of a JPEG along its blocks, as a changed byte leaves them: the picture goes on, but shifted.

The mean of each block is stored as the difference to that of the block before, from left to right and row by row. A
wrong difference shifts all blocks behind it by the same amount: the picture has a step of one height below one row of
blocks up to some column, and one row higher from that column on. No picture has such stairs on the grid of its blocks
while all else in it goes on across them.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from headstart.data.jpeg_damage import segments

Floats = NDArray[np.float32]

_FRAMES = (0xC0, 0xC1, 0xC2)
_BLOCK = 8  # pixels
_LEAST_UNITS, _LEAST_ROWS = 10, 3  # of a picture: fewer tell too little
_LEAST_PART = 3  # units of each of the two parts of a step
_LEAST_STEP = 6.0  # grey levels of its height
_SHARE = 0.7  # of the units of each part that must agree …
_WITHIN = 0.5  # … with the height of the step within so much of it
_LEAST_GRAIN = 0.4  # grey levels beside the border and from unit to unit, in half of the units: drawings have none
_LEAST_LIKENESS = 0.85  # correlation of the lines above and below: plain surfaces may end anywhere


def colour_step(data: bytes, rgb: NDArray[np.uint8]) -> str | None:
    """Why a JPEG is probably damaged, for people; None without a step.

    Args:
        rgb: its pixels, H×W×3, as they are stored, neither reduced nor rotated.
    """
    unit = _unit(data)
    if unit is None:
        return None
    across, down = unit
    apart = 0 if down == _BLOCK else 1  # coarser colours are smoothed across the border
    columns, borders = rgb.shape[1] // across, np.arange(down, rgb.shape[0] - 2 - 3 * apart, down)
    if columns < _LEAST_UNITS or len(borders) < _LEAST_ROWS:
        return None

    lines = np.array([[-2 - 3 * apart], [-1 - apart], [apart], [1 + 3 * apart]]) + borders
    far_above, above, below, far_below = _unit_means(rgb[lines, : columns * across, 1], across)
    slopes = (above - far_above + far_below - below) * np.float32(0.5)  # of the picture itself
    for first in _candidates(below - above - slopes, columns):
        path = slice(first, first + columns)
        if _has_grain(above[path], slopes[path]) and _goes_on(above[path], below[path]):
            row = int(borders[first // columns])
            return f"possibly damaged (from row {row:,} on its colours are shifted by one amount)"
    return None


def _unit(data: bytes) -> tuple[int, int] | None:
    """Width and height of the pixels that are coded together, of a JPEG in grey or with three components.

    Source: ITU T.81, B.2.2 (frame header) and A.2 (order of the blocks).
    """
    try:
        start = next((start for marker, start, _ in segments(data) if marker in _FRAMES), None)
        if start is None or data[start + 9] not in (1, 3):
            return None
        factors = [data[start + 11 + 3 * i] for i in range(data[start + 9])] if data[start + 9] == 3 else [0x11]
    except (struct.error, IndexError):
        return None
    across, down = max(factor >> 4 for factor in factors), max(factor & 15 for factor in factors)
    return (_BLOCK * across, _BLOCK * down) if across and down else None


def _unit_means(green: NDArray[np.uint8], across: int) -> Floats:
    """Means of so much green beside each other, of all units of the lines: all colours are in it, and it is enough."""
    values = green.reshape(len(green), -1, across).astype(np.float32)
    means: Floats = values @ np.full(across, 1 / across, np.float32)  # three times as fast as `mean`
    return means


def _candidates(heights: Floats, columns: int) -> Iterator[int]:
    """Where, in the order of the scan, a row of units begins that all have about the same step, and those around not.

    Args:
        heights: of the step at each unit, border by border. columns: units of a border.
    """
    least = _WITHIN * _LEAST_STEP
    signs = np.cumsum((heights >= least).astype(np.int32) - (heights <= -least))
    agree = np.abs(signs[columns:-columns] - signs[: -2 * columns]) >= _SHARE * columns  # of the units behind each
    for first in np.flatnonzero(agree) + 1:
        row, column = divmod(int(first), columns)
        is_parted = _LEAST_PART <= column <= columns - _LEAST_PART
        if is_parted and _is_step(heights[row * columns : (row + 2) * columns], column):
            yield int(first)


def _is_step(heights: Floats, column: int) -> bool:
    """Whether in two lines of units all from a column of the first to that of the second have a step, the others not.

    Args:
        heights: of the steps at both lines, one behind the other.
    """
    columns = len(heights) // 2
    end = column + columns
    height = float(np.partition(heights[column:end], columns // 2)[columns // 2])
    if abs(height) < _LEAST_STEP:
        return False
    off = heights.copy()
    off[column:end] -= height
    fits = np.abs(off) < _WITHIN * abs(height)
    parts = itertools.pairwise((0, column, columns, end, 2 * columns))
    return all(np.count_nonzero(fits[first:last]) >= _SHARE * (last - first) for first, last in parts)


def _has_grain(values: Floats, slopes: Floats) -> bool:
    """Whether most units differ from those beside them, and inside."""
    grain = (float(np.median(np.abs(differences))) for differences in (np.diff(values), slopes))
    return min(grain) >= _LEAST_GRAIN


def _goes_on(above: Floats, below: Floats) -> bool:
    """Whether the picture is alike on both sides of the path."""
    return bool(np.corrcoef(above, below)[0, 1] >= _LEAST_LIKENESS)
