"""Part: the silhouette and the relief of one drawn thing; what contours, fractals and limbs give to the bank."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Parts:
    """Drawn things of one kind.

    Args:
        kind: `contour`, `fractal` or `limbs`.
        alpha: N×S×S in [0, 1], 1 inside the thing.
        relief: N×S×S in [0, 1], how much light its surface sends back.
    """

    kind: str
    alpha: Array
    relief: Array


def plane(side: int) -> tuple[Array, Array]:
    """x and y of the pixels of a square, S×S each, from -1 to 1."""
    line = (np.arange(side, dtype=np.float32) + 0.5) * (2.0 / side) - 1.0
    x, y = np.meshgrid(line, line)
    return x.astype(np.float32), y.astype(np.float32)


def turned(rng: np.random.Generator, side: int, stretch: float) -> tuple[Array, Array]:
    """The plane turned by a random angle, and narrowed along one axis by up to `stretch`."""
    x, y = plane(side)
    angle = rng.uniform(0, 2 * np.pi)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    narrow = np.float32(rng.uniform(1.0, stretch))
    return c * x + s * y, narrow * (c * y - s * x)


def soft(distance: Array, side: int) -> Array:
    """1 where a distance is negative, 0 where it is positive, over an edge of about a pixel and a half."""
    return np.asarray(np.clip(0.5 - distance * np.float32(side / 3.0), 0.0, 1.0), np.float32)
