"""Contours: closed outlines from a few waves around a centre, filled, hollow or nested, and regular polygons."""

from __future__ import annotations

import numpy as np

from headstart.pretraining.parts import Array, Parts, soft, turned

_ANGLES = 512  # entries of a table of radii
_STYLES = ("filled", "domed", "ring", "nested", "scalloped")


def draw_contours(rng: np.random.Generator, count: int, side: int) -> Parts:
    """So many outlines on S×S pixels, every style as often as the others.

    Source: Takashima et al. 2023 (VisualAtom), arXiv:2303.01112: sums of sinusoids on an orbit, nested lines. We add
        polygons and fill; one outline a picture part, coloured later by the scene.
    """
    alpha, relief = np.empty((2, count, side, side), np.float32)
    for i in range(count):
        alpha[i], relief[i] = _one(rng, _STYLES[i % len(_STYLES)], side)
    return Parts("contour", alpha, relief)


def _one(rng: np.random.Generator, style: str, side: int) -> tuple[Array, Array]:
    x, y = turned(rng, side, 2.5)
    radius = _polygon(rng) if rng.random() < 0.35 else _waves(rng)
    place = ((np.arctan2(y, x) / (2 * np.pi)) % 1.0 * _ANGLES).astype(np.int64) % _ANGLES
    distance = np.sqrt(x * x + y * y)
    share = distance / (0.95 * radius[place])  # 1 on the outline
    inside = soft((share - 1.0) * radius[place], side)
    dome = np.sqrt(np.clip(1.0 - share * share, 0.0, 1.0))
    if style == "ring":
        inner = np.float32(rng.uniform(0.45, 0.8))
        inside = inside * (1 - soft((share - inner) * radius[place], side))
    if style in ("nested", "scalloped"):
        waves = 0.5 + 0.5 * np.cos(np.float32(2 * np.pi * rng.integers(2, 6)) * share)
        if style == "nested":
            return inside * np.clip(3.0 * waves - 1.0, 0.0, 1.0), np.full_like(inside, 0.8)
        return inside, 0.35 + 0.65 * waves
    return inside, (0.3 + 0.7 * dome) if style == "domed" else np.full_like(inside, 0.8)


def _waves(rng: np.random.Generator) -> Array:
    """Radii around a centre: a circle and up to five waves, the largest radius 1, none below a tenth."""
    angle = np.linspace(0, 2 * np.pi, _ANGLES, endpoint=False)
    radius = np.ones(_ANGLES)
    for _ in range(int(rng.integers(1, 6))):
        number = int(rng.integers(1, 13))
        radius += rng.uniform(-0.9, 0.9) / np.sqrt(number) * np.cos(number * angle + rng.uniform(0, 2 * np.pi))
    radius = np.maximum(radius, 0.1)
    return np.asarray(radius / radius.max(), np.float32)


def _polygon(rng: np.random.Generator) -> Array:
    """Radii of a regular polygon with 3 to 8 corners, its sides straight or drawn in to a star."""
    corners = int(rng.integers(3, 9))
    angle = np.linspace(0, 2 * np.pi, _ANGLES, endpoint=False) % (2 * np.pi / corners)
    radius = np.cos(np.pi / corners) / np.cos(angle - np.pi / corners)
    radius = np.power(radius, 1.0 if rng.random() < 0.5 else rng.uniform(1.5, 6.0))
    return np.asarray(radius / radius.max(), np.float32)
