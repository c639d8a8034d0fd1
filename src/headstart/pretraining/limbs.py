"""Limbs: bodies of one to four round segments with branches that bend, rounded by light; like nothing in particular."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headstart.pretraining.parts import Array, Parts, soft, turned


def draw_limbs(rng: np.random.Generator, count: int, side: int) -> Parts:
    """So many bodies with limbs on S×S pixels."""
    alpha, relief = np.empty((2, count, side, side), np.float32)
    for i in range(count):
        alpha[i], relief[i] = _one(rng, side)
    return Parts("limbs", alpha, relief)


def _one(rng: np.random.Generator, side: int) -> tuple[Array, Array]:
    x, y = turned(rng, side, 1.4)
    segments = int(rng.integers(1, 5))
    along = np.linspace(-0.55, 0.55, segments) if segments > 1 else np.zeros(1)
    alpha, relief = np.zeros_like(x), np.zeros_like(x)
    for start, end, thick in _limbs(rng, along):
        _lay(alpha, relief, *_capsule(x, y, start, end, thick, side))
    for centre in along:
        size = rng.uniform(0.12, 0.34), rng.uniform(0.12, 0.3)
        _lay(alpha, relief, *_ellipse(x, y, (float(centre), rng.uniform(-0.08, 0.08)), size, side))
    return alpha, relief


def _limbs(
    rng: np.random.Generator, along: NDArray[np.float64]
) -> list[tuple[tuple[float, float], tuple[float, float], float]]:
    """Start, end and thickness of the two halves of each limb; often in pairs, mirrored."""
    found, paired = [], rng.random() < 0.7
    thick = rng.uniform(0.015, 0.1)
    for _ in range(int(rng.integers(0, 5))):
        root = (float(rng.choice(along)) + rng.uniform(-0.1, 0.1), 0.0)
        knee = (root[0] + rng.uniform(-0.35, 0.35), rng.uniform(0.2, 0.55))
        foot = (knee[0] + rng.uniform(-0.35, 0.35), knee[1] + rng.uniform(-0.2, 0.4))
        for sign in (1, -1) if paired else (float(rng.choice([-1, 1])),):
            bent, tip = (knee[0], sign * knee[1]), (foot[0], sign * foot[1])
            found += [(root, bent, thick), (bent, tip, 0.8 * thick)]
    return found


def _capsule(
    x: Array, y: Array, start: tuple[float, float], end: tuple[float, float], thick: float, side: int
) -> tuple[Array, Array]:
    dx, dy = np.float32(end[0] - start[0]), np.float32(end[1] - start[1])
    length = dx * dx + dy * dy + np.float32(1e-6)
    place = np.clip(((x - np.float32(start[0])) * dx + (y - np.float32(start[1])) * dy) / length, 0, 1)
    away = np.sqrt((x - np.float32(start[0]) - place * dx) ** 2 + (y - np.float32(start[1]) - place * dy) ** 2)
    return soft(away - np.float32(thick), side), 0.35 + 0.65 * np.clip(1 - away / np.float32(thick + 0.02), 0, 1)


def _ellipse(
    x: Array, y: Array, centre: tuple[float, float], size: tuple[float, float], side: int
) -> tuple[Array, Array]:
    u, v = (x - np.float32(centre[0])) / np.float32(size[0]), (y - np.float32(centre[1])) / np.float32(size[1])
    share = u * u + v * v
    inside = soft((np.sqrt(share) - 1) * np.float32(min(size)), side)
    return inside, 0.3 + 0.7 * np.sqrt(np.clip(1 - share, 0, 1))


def _lay(alpha: Array, relief: Array, over: Array, light: Array) -> None:
    """Lay a piece over what is there, in place."""
    relief += over * (light - relief)
    alpha += over * (1 - alpha)
