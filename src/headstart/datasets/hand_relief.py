"""Placed bars as a height map: the visible surface of a hand, pixel by pixel, before light is added.

Fingers melt into the palm and into themselves, but lie hard on each other. Exact per pixel, without ray marching.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from headstart.datasets.hand_shapes import Array, Bar, View, unit, vector

EMPTY = -1e4  # height where nothing is, far under every floor
# the heart, head and life lines of a palm, and the wrist's
_LINES = (
    ((-0.47, 0.66), (-0.3, 0.66), (-0.05, 0.72), (0.12, 0.8), (0.2, 0.9)),
    ((0.43, 0.66), (0.25, 0.66), (0.0, 0.58), (-0.2, 0.46), (-0.34, 0.38)),
    ((0.43, 0.68), (0.25, 0.64), (0.1, 0.5), (0.03, 0.3), (0.06, 0.12)),
    ((-0.26, 0.03), (0.0, -0.01), (0.26, 0.03)),
)


@dataclass(frozen=True)
class Relief:
    """The picture's geometry, each S×S: height in pixels, shares of palm skin, nail and fold, and masks."""

    height: Array
    palmar: Array
    nail: Array
    fold: Array
    is_palm: NDArray[np.bool_]
    is_hand: NDArray[np.bool_]
    is_sleeve: NDArray[np.bool_]


def raise_hand(parts: dict[str, tuple[Bar, ...]], lines: Array, view: View) -> Relief:
    """Height map of placed parts in a picture; `lines`, S×S in [0, 1], crease the palm."""
    scale, side = view.scale, view.side
    top = np.zeros((4, side, side), np.float32)  # height, palmar, nail, fold
    top[0] = EMPTY
    is_palm = np.zeros((side, side), np.bool_)
    box, layer = _layer(parts["palm"], side, scale * 0.14, is_soft=True)
    top[:, box[0], box[1]], is_palm[box] = layer, layer[0] > EMPTY / 2
    palm = top[0].copy()
    for name in ("finger0", "finger1", "finger2", "finger3", "thumb"):
        box, layer = _layer(parts[name], side, scale * 0.03, is_soft=False)
        _lay(layer, top[:, box[0], box[1]], is_palm[box], palm=palm[box], melt=scale * 0.06)
    creases = np.where(is_palm, lines * top[1], 0)
    top[3] += creases
    top[0] -= creases * np.float32(scale * 0.02)
    box, sleeve = _layer(parts["sleeve"], side, scale * 0.14, is_soft=True)
    is_sleeve = np.zeros((side, side), np.bool_)
    is_sleeve[box] = (sleeve[0] > EMPTY / 2) & (is_palm[box] | (sleeve[0] > top[0][box]))
    is_hand = (top[0] > EMPTY / 2) & ~is_sleeve
    np.copyto(top[0][box], sleeve[0], where=is_sleeve[box])
    return Relief(
        height=top[0],
        palmar=top[1],
        nail=top[2],
        fold=top[3],
        is_palm=is_palm,
        is_hand=is_hand,
        is_sleeve=is_sleeve,
    )


def _lay(layer: Array, top: Array, is_palm: NDArray[np.bool_], *, palm: Array, melt: float) -> None:
    """Add a finger to the picture: it blends into the palm and lies on another finger with a hard edge."""
    is_there = layer[0] > EMPTY / 2
    soft = np.where(is_there, _melted(layer[0], palm, melt), EMPTY)
    is_nearer = is_there & (layer[0] >= np.maximum(top[0], palm))
    np.maximum(top[0], soft, out=top[0])
    # the colour of the back of a finger blends into that of the palm
    share = np.clip((layer[0] - palm) / np.float32(3 * melt), 0, 1)
    layer[1] = np.where(is_palm, top[1] + (layer[1] - top[1]) * share, layer[1])
    np.copyto(top[1:], layer[1:], where=is_nearer)
    is_palm[is_nearer] = False


def _melted(one: Array, other: Array, melt: float) -> Array:
    """The greater of two heights, rounded where they are closer than `melt` pixels."""
    near = np.maximum(np.float32(melt) - np.abs(one - other), 0)
    return np.asarray(np.maximum(one, other) + near * near * np.float32(0.25 / melt), np.float32)


def _layer(bars: Sequence[Bar], side: int, melt: float, *, is_soft: bool) -> tuple[tuple[slice, slice], Array]:
    """One part alone: the box of the picture that it may touch, and height, palmar, nail, fold inside it, 4×h×w."""
    boxes = [_box(bar, melt, side) for bar in bars]
    above, below, left, right = (pick(box[i] for box in boxes) for i, pick in enumerate((min, max, min, max)))
    part = np.zeros((4, below - above, right - left), np.float32)
    part[0] = EMPTY
    is_there = np.zeros(part.shape[1:], np.bool_)
    for bar, box in zip(bars, boxes, strict=True):
        rows, columns = slice(box[0] - above, box[1] - above), slice(box[2] - left, box[3] - left)
        here = part[:, rows, columns]
        height, is_met, marks = _bar(bar, box, is_soft)
        is_there[rows, columns] |= is_met
        is_nearer = height > here[0]
        here[0] = _melted(here[0], height, melt)
        for mark, values in enumerate(marks, start=1):
            np.copyto(here[mark], values, where=is_nearer)
    part[0][~is_there] = EMPTY
    return (slice(above, below), slice(left, right)), part


def _box(bar: Bar, margin: float, side: int) -> tuple[int, int, int, int]:
    """First and last row, first and last column that a bar can touch."""
    low = np.minimum(bar.start - bar.radii[0], bar.end - bar.radii[1]) - margin
    high = np.maximum(bar.start + bar.radii[0], bar.end + bar.radii[1]) + margin
    left, above = (int(min(max(float(low[axis]), 0), side)) for axis in (0, 1))
    right, below = (int(min(max(float(high[axis]) + 2, 0), side)) for axis in (0, 1))
    return above, below, left, right


def _bar(
    bar: Bar, box: tuple[int, int, int, int], is_soft: bool
) -> tuple[Array, NDArray[np.bool_], tuple[Array | float, ...]]:
    """Height h×w of one bar seen along z, where it is hit, and its marks: palmar, nail, fold.

    The highest point over a pixel is that of the ball, among all balls along the bar, that reaches highest there:
    the maximum over t of z(t) + sqrt(q(t)), q the quadratic r(t)² - |pixel - centre(t)|²; it has a closed form.
    """
    (dx, dy, dz), radius, grow = (float(v) for v in bar.end - bar.start), bar.radii[0], bar.radii[1] - bar.radii[0]
    x = np.arange(box[2], box[3], dtype=np.float32)[None, :] - bar.start[0]
    y = np.arange(box[0], box[1], dtype=np.float32)[:, None] - bar.start[1]
    q0 = radius**2 - x * x - y * y
    q1 = 2 * (radius * grow + x * dx + y * dy)
    # seen end on, one ball may hide the other: just below zero, so that there is a maximum
    q2 = min(grow**2 - dx * dx - dy * dy, -0.01 * radius**2)
    root = np.sqrt(np.maximum(q1 * q1 - 4 * q2 * q0, 0))
    t = np.clip((root * (dz / (dz * dz - q2) ** 0.5) + q1) * (-0.5 / q2), 0, 1)
    q = q0 + (q1 + q2 * t) * t
    rise = np.sqrt(np.maximum(q, 0))
    ball = radius + t * grow
    is_there = q > 0
    if bar.cuff is not None:
        # straight across in the picture, so that both bars of a sleeve end on one line
        is_there &= (x + (bar.start[0] - bar.cuff[0])) * dx + (y + (bar.start[1] - bar.cuff[1])) * dy > 0
    # a ball's rim is a cliff, visible as a seam where bars melt together: soft bars are hills that end flat
    height = (q / ball if is_soft else rise - np.sqrt(np.maximum(-q, 0))) + t * dz + bar.start[2]
    normal = (x - t * dx, y - t * dy, rise)  # as long as the ball's radius
    along = _dot(unit(bar.end - bar.start), (x, y, rise + t * dz)) if bar.joint or bar.nail else q
    return height, is_there, _marks(bar, normal, ball, along=along)


def _dot(fixed: Array, field: tuple[Array, Array, Array]) -> Array:
    return np.asarray(field[0] * fixed[0] + field[1] * fixed[1] + field[2] * fixed[2], np.float32)


def _marks(
    bar: Bar, normal: tuple[Array, Array, Array], ball: Array, *, along: Array
) -> tuple[Array, Array | float, Array | float]:
    """Share of palm skin, nail and fold on each point of a bar, by its normal (as long as `ball`) and position."""
    dorsal = _dot(bar.back, normal) / ball
    palmar = np.clip(0.2 - 1.8 * dorsal, 0, 1)
    nail: Array | float = 0.0
    fold: Array | float = 0.0
    if bar.nail:
        bone = bar.end - bar.start
        across = _dot(unit(np.cross(bone, bar.back)), normal) / (0.72 * ball)
        lengthwise = (along - float(np.sqrt(bone @ bone)) - 0.1 * bar.nail) / bar.nail
        nail = np.clip(4 * (1 - across**4 - lengthwise**4), 0, 1) * (dorsal > 0)
    if bar.joint:
        # one clear fold inside, three faint wrinkles on the back
        far = along / (bar.joint * 1.1)
        middle = np.exp(-far * far)
        wrinkles = middle + np.exp(-((far - 2.6) ** 2)) + np.exp(-((far + 2.6) ** 2))
        fold = np.where(dorsal < 0, middle * 0.9, wrinkles * np.clip(dorsal * 0.8, 0, 0.4))
    return palmar, nail, fold


def palm_lines(view: View, palm_width: float) -> Array:
    """Where the palm's creases are in the picture, S×S in [0, 1]."""
    scale = view.scale
    sheet = Image.new("L", (view.side, view.side))
    pen = ImageDraw.Draw(sheet)
    for line in _LINES:
        points = np.array([(x * palm_width, y, 0.17) for x, y in _curve(line)], np.float32)
        seen = points @ view.rotation.T * np.float32(scale) + vector(view.origin[0], view.origin[1], 0)
        pen.line(
            [(float(x), float(y)) for x, y, _ in seen], fill=190, width=max(1, round(scale * 0.014)), joint="curve"
        )
    sheet = sheet.filter(ImageFilter.GaussianBlur(scale * 0.006))
    return np.asarray(np.asarray(sheet, np.float32) / np.float32(255), np.float32)


def _curve(line: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Five points for each one, on a smooth curve through all of them (Catmull-Rom)."""
    points = np.array([line[0], *line, line[-1]])
    t = np.linspace(0, 1, 6)[:-1, None]
    pieces = []
    for a, b, c, d in zip(points, points[1:], points[2:], points[3:], strict=False):
        pieces.append(b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a))))
    return [(float(x), float(y)) for x, y in np.concatenate([*pieces, points[-1:]])]
