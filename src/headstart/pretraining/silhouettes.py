"""Silhouettes: the outline and the relief of drawn things, of which scenes are made: contours, fractals and limbs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Point = tuple[float, float]

_ANGLES = 512  # entries of a table of radii
_STYLES = ("filled", "domed", "ring", "nested", "scalloped")
# of a fractal: points that move at the same time, steps, and the first steps, which are not drawn
_WALKERS, _STEPS, _BURN_IN = 160, 90, 12
_LARGEST = 0.95  # singular value of a fractal's maps


@dataclass(frozen=True)
class Silhouettes:
    """Drawn things of one kind.

    Args:
        alpha: N×S×S in [0, 1], 1 inside the thing.
        relief: N×S×S in [0, 1], how much light its surface reflects.
    """

    alpha: Array
    relief: Array


def draw_contours(rng: np.random.Generator, count: int, side: int) -> Silhouettes:
    """Closed outlines on S×S pixels, filled, hollow or nested, every style as often as the others.

    Source: Takashima et al. 2023 (VisualAtom), arXiv:2303.01112: sums of sinusoids on an orbit, nested lines. We add
        polygons and fill; one outline per silhouette, coloured later by the scene.
    """
    drawn = [_contour(rng, _STYLES[i % len(_STYLES)], side) for i in range(count)]
    return _stacked(drawn)


def draw_fractals(rng: np.random.Generator, count: int, side: int) -> Silhouettes:
    """Attractors of a few contracting affine maps on S×S pixels; the relief follows how often a pixel is visited.

    Source: Anderson and Farrell 2022, arXiv:2110.03091: maps by their singular values, all below 1. We draw three
        to six maps of equal weight, and scale by the points' own extent.
    """
    return _stacked([_density(attractor(rng, *draw_maps(rng)), side) for _ in range(count)])


def draw_limbs(rng: np.random.Generator, count: int, side: int) -> Silhouettes:
    """Bodies of one to four round segments with bent branches on S×S pixels, rounded by light."""
    return _stacked([_body_with_limbs(rng, side) for _ in range(count)])


def plane(side: int) -> tuple[Array, Array]:
    """x and y of the pixels of a square, S×S each, from -1 to 1."""
    line = (np.arange(side, dtype=np.float32) + 0.5) * (2.0 / side) - 1.0
    x, y = np.meshgrid(line, line)
    return x.astype(np.float32), y.astype(np.float32)


def rotated_plane(rng: np.random.Generator, side: int, stretch: float) -> tuple[Array, Array]:
    """The plane rotated by a random angle, and compressed along one axis by up to `stretch`."""
    x, y = plane(side)
    angle = rng.uniform(0, 2 * np.pi)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    narrow = np.float32(rng.uniform(1.0, stretch))
    return c * x + s * y, narrow * (c * y - s * x)


def soft_edge(distance: Array) -> Array:
    """S×S: 1 where a signed distance is negative, 0 where it is positive, over an edge of about a pixel and a half."""
    return np.asarray(np.clip(0.5 - distance * np.float32(len(distance) / 3.0), 0.0, 1.0), np.float32)


def _stacked(drawn: list[tuple[Array, Array]]) -> Silhouettes:
    return Silhouettes(*(np.stack(arrays).astype(np.float32) for arrays in zip(*drawn, strict=True)))


def _contour(rng: np.random.Generator, style: str, side: int) -> tuple[Array, Array]:
    x, y = rotated_plane(rng, side, 2.5)
    radius = _polygon(rng) if rng.random() < 0.35 else _waves(rng)
    bin_ = ((np.arctan2(y, x) / (2 * np.pi)) % 1.0 * _ANGLES).astype(np.int64) % _ANGLES
    distance = np.sqrt(x * x + y * y)
    share = distance / (0.95 * radius[bin_])  # 1 on the outline
    inside = soft_edge((share - 1.0) * radius[bin_])
    dome = np.sqrt(np.clip(1.0 - share * share, 0.0, 1.0))
    if style == "ring":
        inner = np.float32(rng.uniform(0.45, 0.8))
        inside = inside * (1 - soft_edge((share - inner) * radius[bin_]))
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


def draw_maps(rng: np.random.Generator) -> tuple[Array, Array]:
    """Matrices M×2×2, all singular values below 1, and shifts M×2 of a random system."""
    number = int(rng.integers(2, 6))
    first = rng.uniform(0.25, _LARGEST, number)
    second = first * rng.uniform(0.2, 1.0, number)
    total = (first + 2 * second).sum()
    wanted = rng.uniform(0.5 * (5 + number), 0.5 * (6 + number))  # much smaller gives dust, much larger a blot
    factor = np.minimum(wanted / total, _LARGEST / first)
    sizes = np.stack([first * factor, second * factor * rng.choice([-1.0, 1.0], number)], axis=1)
    left, right = _rotations(rng, number), _rotations(rng, number)
    return (left * sizes[:, None, :] @ right).astype(np.float32), rng.uniform(-1, 1, (number, 2)).astype(np.float32)


def attractor(rng: np.random.Generator, maps: Array, shifts: Array) -> Array:
    """Points P×2 of an attractor: many walkers, each applying random maps (chaos game)."""
    points = rng.uniform(-0.5, 0.5, (_WALKERS, 2)).astype(np.float32)
    choices = rng.integers(len(maps), size=(_STEPS, _WALKERS))
    seen = np.empty((_STEPS - _BURN_IN, _WALKERS, 2), np.float32)
    for step, choice in enumerate(choices):
        chosen = maps[choice]
        points = chosen[:, :, 0] * points[:, :1] + chosen[:, :, 1] * points[:, 1:] + shifts[choice]
        if step >= _BURN_IN:
            seen[step - _BURN_IN] = points
    return seen.reshape(-1, 2)


def _density(points: Array, side: int) -> tuple[Array, Array]:
    low, high = np.quantile(points, [0.01, 0.99], axis=0)
    extent = max(float((high - low).max()), 1e-3)
    pixels = ((points - (low + high) / 2) / extent * 0.94 + 0.5) * side
    kept = pixels[((pixels >= 0) & (pixels < side)).all(axis=1)].astype(np.int64)
    counts = np.bincount(kept[:, 1] * side + kept[:, 0], minlength=side * side).reshape(side, side)
    smooth = _smooth(counts.astype(np.float32))
    relief = np.log1p(smooth) / np.log1p(smooth.max())
    return np.clip(1.6 * smooth, 0.0, 1.0), (0.3 + 0.7 * relief).astype(np.float32)


def _smooth(counts: Array) -> Array:
    """A mean over 3×3 pixels: it closes the gaps between the few points."""
    padded = np.pad(counts, 1)
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    return np.asarray((rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9.0, np.float32)


def _rotations(rng: np.random.Generator, number: int) -> Array:
    angle = rng.uniform(0, 2 * np.pi, number)
    c, s = np.cos(angle), np.sin(angle)
    return np.asarray(np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], -2), np.float32)


def _body_with_limbs(rng: np.random.Generator, side: int) -> tuple[Array, Array]:
    at = rotated_plane(rng, side, 1.4)
    segments = int(rng.integers(1, 5))
    along = np.linspace(-0.55, 0.55, segments) if segments > 1 else np.zeros(1)
    body = np.zeros((side, side), np.float32), np.zeros((side, side), np.float32)
    for start, end, radius in _limbs(rng, along):
        _lay(body, _capsule(at, (start, end), radius))
    for centre in along:
        radii = rng.uniform(0.12, 0.34), rng.uniform(0.12, 0.3)
        _lay(body, _ellipse(at, (float(centre), rng.uniform(-0.08, 0.08)), radii))
    return body


def _limbs(rng: np.random.Generator, along: NDArray[np.float64]) -> list[tuple[Point, Point, float]]:
    """Start, end and radius of the two halves of each limb; often in symmetric pairs."""
    found, paired = [], rng.random() < 0.7
    radius = rng.uniform(0.015, 0.1)
    for _ in range(int(rng.integers(0, 5))):
        root = (float(rng.choice(along)) + rng.uniform(-0.1, 0.1), 0.0)
        knee = (root[0] + rng.uniform(-0.35, 0.35), rng.uniform(0.2, 0.55))
        foot = (knee[0] + rng.uniform(-0.35, 0.35), knee[1] + rng.uniform(-0.2, 0.4))
        for sign in (1, -1) if paired else (float(rng.choice([-1, 1])),):
            bent, tip = (knee[0], sign * knee[1]), (foot[0], sign * foot[1])
            found += [(root, bent, radius), (bent, tip, 0.8 * radius)]
    return found


def _capsule(at: tuple[Array, Array], ends: tuple[Point, Point], radius: float) -> tuple[Array, Array]:
    """Alpha and relief of all points nearer than `radius` to a line segment."""
    (x, y), ((x0, y0), (x1, y1)) = at, ends
    dx, dy = np.float32(x1 - x0), np.float32(y1 - y0)
    length = dx * dx + dy * dy + np.float32(1e-6)
    share = np.clip(((x - np.float32(x0)) * dx + (y - np.float32(y0)) * dy) / length, 0, 1)
    distance = np.sqrt((x - np.float32(x0) - share * dx) ** 2 + (y - np.float32(y0) - share * dy) ** 2)
    inside: Array = np.clip(1 - distance / np.float32(radius + 0.02), 0, 1)
    return soft_edge(distance - np.float32(radius)), np.float32(0.35) + np.float32(0.65) * inside


def _ellipse(at: tuple[Array, Array], centre: Point, radii: Point) -> tuple[Array, Array]:
    x, y = at
    u, v = (x - np.float32(centre[0])) / np.float32(radii[0]), (y - np.float32(centre[1])) / np.float32(radii[1])
    squared = u * u + v * v
    alpha = soft_edge((np.sqrt(squared) - 1) * np.float32(min(radii)))
    return alpha, 0.3 + 0.7 * np.sqrt(np.clip(1 - squared, 0, 1))


def _lay(below: tuple[Array, Array], above: tuple[Array, Array]) -> None:
    """Draw one alpha and relief over another, in place."""
    (alpha, relief), (over, light) = below, above
    relief += over * (light - relief)
    alpha += over * (1 - alpha)
