"""A hand as tapered round bars in space: its bones with their flesh, posed and projected.

Model space, in palm widths: x to the thumb's side, y from wrist to finger tips, z out of the palm. `place` transforms
it to pixels: x right, y down, z towards the viewer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

# index, middle, ring, little finger: joint at the palm, lengths of the bones, radii from joint to tip
_KNUCKLES = ((0.36, 0.96, 0.02), (0.12, 1.01, 0.0), (-0.12, 0.96, 0.0), (-0.345, 0.86, 0.02))
_BONES = ((0.48, 0.29, 0.21), (0.54, 0.34, 0.22), (0.50, 0.32, 0.22), (0.40, 0.23, 0.19))
_RADII = (
    (0.118, 0.105, 0.096, 0.078),
    (0.12, 0.106, 0.097, 0.08),
    (0.115, 0.1, 0.092, 0.075),
    (0.1, 0.086, 0.078, 0.064),
)


@dataclass(frozen=True)
class Bar:
    """Two balls and the skin stretched over them: one bone with its flesh.

    Args:
        back: unit vector out of the nail's side.
        nail: half the nail's length in palm widths, 0 for none.
        joint: how deep the skin folds at the start, in palm widths.
        cuff: a point of the line that cuts the start flat; None leaves it round.
    """

    start: Array
    end: Array
    radii: tuple[float, float]
    back: Array
    nail: float = 0.0
    joint: float = 0.0
    cuff: Array | None = None


@dataclass(frozen=True)
class Build:
    """What stays the same in every picture of one hand; 1 is the average hand."""

    finger_lengths: tuple[float, ...]
    thickness: float
    palm_width: float
    nail: float
    sleeve_from: float  # palm widths from wrist to cuff
    sleeve_radius: float


@dataclass(frozen=True)
class Pose:
    """Where the joints are.

    Args:
        spread: 4, each finger's rotation to the thumb's side in radians.
        bend: 4×3, rotation of each bone towards the palm in radians.
        thumb: 4×3, its joints in model space.
        thumb_back: 3, out of its nail.
        wrist: rotations of the arm to the side and to the front in radians.
    """

    spread: Array
    bend: Array
    thumb: Array
    thumb_back: Array
    wrist: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class View:
    """How the model is seen in a picture of side × side pixels.

    Args:
        rotation: 3×3, from model to picture.
        scale: pixels in a palm width.
        origin: 2, pixels of model point 0.
    """

    rotation: Array
    scale: float
    origin: Array
    side: int


def vector(*values: float) -> Array:
    """Numbers as a float32 array."""
    return np.array(values, np.float32)


def unit(v: Array) -> Array:
    """The vector at length 1."""
    return np.asarray(v / np.sqrt(np.sum(v * v)), np.float32)


def build_hand(build: Build, pose: Pose) -> dict[str, tuple[Bar, ...]]:
    """Bars of every part of the hand in model space: `palm`, `finger0` to `finger3`, `thumb`, `sleeve`."""
    parts = {"palm": _palm(build, pose)}
    for index in range(4):
        parts[f"finger{index}"] = _finger(build, pose, index)
    parts["thumb"] = _thumb(build, pose)
    parts["sleeve"] = _arm(build, pose, start=build.sleeve_from, radius=build.sleeve_radius, is_sleeve=True)
    return parts


def _finger(build: Build, pose: Pose, index: int) -> tuple[Bar, ...]:
    at = vector(*_KNUCKLES[index]) * vector(build.palm_width, 1, 1)
    # a bent finger is pressed against its neighbours
    plump = build.thickness * (1.1 if pose.bend[index, 0] > 1 else 1.0)
    radii = [radius * plump for radius in _RADII[index]]
    spread, angle, bars = float(pose.spread[index]), 0.0, []
    for bone, length in enumerate(_BONES[index]):
        angle += float(pose.bend[index, bone])
        ahead = vector(np.sin(spread) * np.cos(angle), np.cos(spread) * np.cos(angle), np.sin(angle))
        back = vector(np.sin(spread) * np.sin(angle), np.cos(spread) * np.sin(angle), -np.cos(angle))
        end = at + ahead * np.float32(length * build.finger_lengths[index])
        nail = build.nail * 0.11 if bone == 2 else 0.0
        joint = 0.016 if bone else 0.0
        bars.append(Bar(at, end, (radii[bone], radii[bone + 1]), back, nail=nail, joint=joint))
        at = end
    return tuple(bars)


def _thumb(build: Build, pose: Pose) -> tuple[Bar, ...]:
    radii = [radius * build.thickness for radius in (0.17, 0.135, 0.118, 0.09)]
    points, bars = pose.thumb, []
    for bone in range(3):
        ahead = unit(points[bone + 1] - points[bone])
        # the ball of the thumb does not rotate with its tip
        outwards = pose.thumb_back if bone else vector(0.85, 0, -0.5)
        back = unit(outwards - ahead * np.float32(ahead @ outwards))
        nail = build.nail * 0.125 if bone == 2 else 0.0
        joint = 0.016 if bone == 2 else 0.0
        radius = (radii[bone], radii[bone + 1])
        bars.append(Bar(points[bone], points[bone + 1], radius, back, nail=nail, joint=joint))
    return tuple(bars)


def _palm(build: Build, pose: Pose) -> tuple[Bar, ...]:
    back, wide, thick = vector(0, 0, -1), build.palm_width, build.thickness
    over = vector(0, 0.5, -0.86)  # the back's skin reaches over the knuckles
    bars = []
    for index, knuckle in enumerate(_KNUCKLES):
        end = vector(*knuckle) * vector(wide, 1, 1)
        wrist = vector((0.21, 0.07, -0.07, -0.2)[index] * wide, 0.05, 0)
        bars.append(Bar(wrist, end, (0.17 * thick, 0.12 * thick), over))
        bars.append(Bar(end + vector(0, -0.03, -0.045), end + vector(0, 0.0, -0.045), (0.1 * thick, 0.1 * thick), over))
    for index in range(3):  # the web between two fingers
        left, right = (_finger(build, pose, i)[0] for i in (index, index + 1))
        for share, radius in ((0.02, 0.115 * thick), (0.2, 0.085 * thick)):
            ends = [bar.start + (bar.end - bar.start) * np.float32(share) for bar in (left, right)]
            bars.append(Bar(ends[0], ends[1], (radius, radius), vector(0, 0.7, -0.7)))
    ball = (0.19 * thick, 0.16 * thick)
    bars.append(
        Bar(vector(0.16 * wide, 0.19, 0.05), pose.thumb[1] * np.float32(0.62) + vector(0.1, 0.14, 0.02), ball, back)
    )
    bars.append(
        Bar(vector(-0.2 * wide, 0.2, 0.05), vector(-0.33 * wide, 0.6, 0.03), (0.165 * thick, 0.14 * thick), back)
    )
    return (*bars, *_arm(build, pose, start=0.0, radius=0.195, is_sleeve=False))


def _arm(build: Build, pose: Pose, *, start: float, radius: float, is_sleeve: bool) -> tuple[Bar, ...]:
    side, front = pose.wrist
    ahead = unit(vector(np.sin(side), -np.cos(side), np.sin(front)))
    across = unit(vector(np.cos(side), np.sin(side), 0)) * np.float32(0.125 * build.palm_width)
    wide = radius * build.thickness
    cuff = ahead * np.float32(start) if is_sleeve else None
    bars = []
    for sign in (-1, 1):
        near = across * np.float32(sign) + ahead * np.float32(start)
        far = across * np.float32(1.5 * sign) + ahead * np.float32(start + 4.5)
        bars.append(Bar(near, far, (wide, wide * 1.9), vector(0, 0, -1), cuff=cuff))
    return tuple(bars)


def place(parts: dict[str, tuple[Bar, ...]], view: View) -> dict[str, tuple[Bar, ...]]:
    """The parts in pixels: rotated, scaled and moved."""
    rotation, scale, shift = view.rotation, view.scale, vector(view.origin[0], view.origin[1], 0)

    def moved(point: Array) -> Array:
        return np.asarray((rotation @ point) * np.float32(scale) + shift, np.float32)

    def placed(bar: Bar) -> Bar:
        return Bar(
            start=moved(bar.start),
            end=moved(bar.end),
            radii=(bar.radii[0] * scale, bar.radii[1] * scale),
            back=rotation @ bar.back,
            nail=bar.nail * scale,
            joint=bar.joint * scale,
            cuff=None if bar.cuff is None else moved(bar.cuff),
        )

    return {name: tuple(placed(bar) for bar in bars) for name, bars in parts.items()}


def extent(parts: dict[str, tuple[Bar, ...]]) -> Array:
    """Smallest and largest x, y, z that the hand without its arm reaches, 2×3."""
    bars = [bar for name, part in parts.items() if name != "sleeve" for bar in (part[:-2] if name == "palm" else part)]
    low = np.min([np.minimum(bar.start - bar.radii[0], bar.end - bar.radii[1]) for bar in bars], axis=0)
    high = np.max([np.maximum(bar.start + bar.radii[0], bar.end + bar.radii[1]) for bar in bars], axis=0)
    return np.stack([low, high]).astype(np.float32)
