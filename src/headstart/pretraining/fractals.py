"""Fractals: attractors of a few affine maps that all shrink, so that no point ever escapes."""

from __future__ import annotations

import numpy as np

from headstart.pretraining.parts import Array, Parts

_WALKERS, _STEPS, _SETTLE = 160, 90, 12  # points of a fractal that walk at the same time; steps; those not drawn
_LARGEST = 0.95  # singular value


def draw_fractals(rng: np.random.Generator, count: int, side: int) -> Parts:
    """So many attractors on S×S pixels; the relief follows how often a place is visited.

    Source: Anderson and Farrell 2022, arXiv:2110.03091: maps by their singular values, all below 1. We draw three
        to six maps of equal weight, and scale by the points' own extent.
    """
    alpha, relief = np.empty((2, count, side, side), np.float32)
    for i in range(count):
        alpha[i], relief[i] = _density(walk(rng, *draw_maps(rng)), side)
    return Parts("fractal", alpha, relief)


def draw_maps(rng: np.random.Generator) -> tuple[Array, Array]:
    """Matrices M×2×2, all singular values below 1, and shifts M×2 of a random system."""
    number = int(rng.integers(2, 6))
    first = rng.uniform(0.25, _LARGEST, number)
    second = first * rng.uniform(0.2, 1.0, number)
    total = (first + 2 * second).sum()
    wanted = rng.uniform(0.5 * (5 + number), 0.5 * (6 + number))  # much smaller is dust, much larger a blot
    factor = np.minimum(wanted / total, _LARGEST / first)
    sizes = np.stack([first * factor, second * factor * rng.choice([-1.0, 1.0], number)], axis=1)
    left, right = _turns(rng, number), _turns(rng, number)
    return (left * sizes[:, None, :] @ right).astype(np.float32), rng.uniform(-1, 1, (number, 2)).astype(np.float32)


def walk(rng: np.random.Generator, maps: Array, shifts: Array) -> Array:
    """Points P×2 of the attractor: many walkers, each taking random maps."""
    points = rng.uniform(-0.5, 0.5, (_WALKERS, 2)).astype(np.float32)
    choices = rng.integers(len(maps), size=(_STEPS, _WALKERS))
    seen = np.empty((_STEPS - _SETTLE, _WALKERS, 2), np.float32)
    for step, choice in enumerate(choices):
        chosen = maps[choice]
        points = chosen[:, :, 0] * points[:, :1] + chosen[:, :, 1] * points[:, 1:] + shifts[choice]
        if step >= _SETTLE:
            seen[step - _SETTLE] = points
    return seen.reshape(-1, 2)


def _density(points: Array, side: int) -> tuple[Array, Array]:
    low, high = np.quantile(points, [0.01, 0.99], axis=0)
    extent = max(float((high - low).max()), 1e-3)
    places = ((points - (low + high) / 2) / extent * 0.94 + 0.5) * side
    kept = places[((places >= 0) & (places < side)).all(axis=1)].astype(np.int64)
    counts = np.bincount(kept[:, 1] * side + kept[:, 0], minlength=side * side).reshape(side, side)
    smooth = _smooth(counts.astype(np.float32))
    relief = np.log1p(smooth) / np.log1p(smooth.max())
    return np.clip(1.6 * smooth, 0.0, 1.0), (0.3 + 0.7 * relief).astype(np.float32)


def _smooth(counts: Array) -> Array:
    """A mean over 3×3 pixels: the points are few, their gaps are no part of the shape."""
    padded = np.pad(counts, 1)
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    return np.asarray((rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9.0, np.float32)


def _turns(rng: np.random.Generator, number: int) -> Array:
    angle = rng.uniform(0, 2 * np.pi, number)
    c, s = np.cos(angle), np.sin(angle)
    return np.asarray(np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], -2), np.float32)
