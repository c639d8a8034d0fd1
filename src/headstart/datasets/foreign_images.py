"""Drawn pictures that belong to no data set of photographs: to see whether a classifier notices them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from headstart.datasets.hands import HAND_CLASSES, draw_hand

Picture = NDArray[np.uint8]

COUNT = 8  # of each kind: 40 forward passes, about a second
_SIDE = 192


def foreign_images(classes: Sequence[str] = (), *, count: int = COUNT, seed: int = 0) -> dict[str, list[Picture]]:
    """Kind → `count` pictures H×W×3 uint8: noise, flat colours, gradients, shapes, and hands.

    Args:
        classes: of the classifier: hands are left out where they are those of the drawn hands.
    """
    rng = np.random.default_rng(seed)
    kinds = {"noise": _noise, "flat colours": _flat, "gradients": _gradient, "shapes": _shapes}
    found = {name: [draw(rng) for _ in range(count)] for name, draw in kinds.items()}
    if not set(HAND_CLASSES) & {name.lower() for name in classes}:
        hands = [draw_hand(HAND_CLASSES[i % len(HAND_CLASSES)], seed=seed + i) for i in range(count)]
        found["drawn hands"] = [np.asarray(hand) for hand in hands]
    return found


def _noise(rng: np.random.Generator) -> Picture:
    return rng.integers(0, 256, (_SIDE, _SIDE, 3), dtype=np.uint8)


def _flat(rng: np.random.Generator) -> Picture:
    return np.full((_SIDE, _SIDE, 3), rng.integers(0, 256, 3), dtype=np.uint8)


def _gradient(rng: np.random.Generator) -> Picture:
    """From one colour to another, in any direction."""
    first, second = rng.integers(0, 256, (2, 3))
    angle, line = rng.uniform(0, 2 * np.pi), np.linspace(-1, 1, _SIDE)
    along = np.cos(angle) * line[:, None] + np.sin(angle) * line
    share = (along - along.min()) / (along.max() - along.min())
    picture: Picture = np.asarray(first + share[..., None] * (second - first)).round().astype(np.uint8)
    return picture


def _shapes(rng: np.random.Generator) -> Picture:
    """Ellipses, rectangles and triangles on one colour."""
    image = Image.new("RGB", (_SIDE, _SIDE), tuple(rng.integers(0, 256, 3).tolist()))
    pen = ImageDraw.Draw(image)
    for _ in range(6):
        colour = tuple(rng.integers(0, 256, 3).tolist())
        corners = [tuple(point) for point in rng.integers(0, _SIDE, (3, 2)).tolist()]
        box = [*map(min, zip(*corners, strict=True)), *map(max, zip(*corners, strict=True))]
        kind = int(rng.integers(3))
        if kind == 0:
            pen.ellipse(box, fill=colour)
        elif kind == 1:
            pen.rectangle(box, fill=colour)
        else:
            pen.polygon(corners, fill=colour)
    return np.asarray(image)
