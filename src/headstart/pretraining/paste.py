"""Paste: how a scene is put together out of a bank's squares: cut out, turned, coloured anew, laid over each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headstart.pretraining.parts import Array


def crop(texture: NDArray[np.uint8], rng: np.random.Generator, side: int) -> Array:
    """A square of a texture as floats, at its own scale or at half of it, mirrored and turned at random."""
    whole = texture.shape[-1]
    step = 2 if 2 * side <= whole and rng.random() < 0.4 else 1
    x, y = rng.integers(0, whole - step * side + 1, 2)
    square = texture[:, y : y + step * side : step, x : x + step * side : step]
    return turn(square, int(rng.integers(8))).astype(np.float32)


def turn(square: NDArray[np.uint8], which: int) -> NDArray[np.uint8]:
    """One of the eight ways to lay a square C×S×S."""
    turned = square.swapaxes(1, 2) if which & 4 else square
    return turned[:, :: 1 if which & 1 else -1, :: 1 if which & 2 else -1]


def recolour(square: Array, rng: np.random.Generator) -> None:
    """Another contrast and another colour, in place: one gain and one offset for each channel."""
    gain = rng.uniform(0.4, 1.3) * rng.uniform(0.8, 1.2, 3)
    offset = 128 * (1 - gain) + rng.uniform(-60, 60) + rng.uniform(-25, 25, 3)
    square *= gain.astype(np.float32)[:, None, None]
    square += offset.astype(np.float32)[:, None, None]


def blend(canvas: Array, alpha: Array, skin: Array | None, left: int, top: int) -> None:
    """canvas += alpha · (skin - canvas) where the two overlap; no skin is black."""
    size, side = canvas.shape[-1], len(alpha)
    x0, x1, y0, y1 = max(left, 0), min(left + side, size), max(top, 0), min(top + side, size)
    if x0 >= x1 or y0 >= y1:
        return
    rows, columns = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
    there = canvas[:, y0:y1, x0:x1]
    there += alpha[rows, columns] * (-there if skin is None else skin[:, rows, columns] - there)


def border(grain: Array, rng: np.random.Generator) -> Array:
    """Where a second surface lies upon a first, S×S in [0, 1]: above a level of `grain`, or beyond a straight line."""
    if rng.random() < 0.5:
        return np.asarray(np.clip((grain - np.median(grain)) * np.float32(rng.uniform(0.01, 0.2)) + 0.5, 0, 1))
    line = np.linspace(-1, 1, len(grain), dtype=np.float32)
    angle, steep = rng.uniform(0, 2 * np.pi), np.float32(rng.choice([1, 4, 60]))
    away = np.float32(np.cos(angle)) * line + np.float32(np.sin(angle)) * line[:, None]
    return np.asarray(np.clip((away + np.float32(rng.uniform(-0.5, 0.5))) * steep + 0.5, 0, 1), np.float32)


def photograph(canvas: Array, rng: np.random.Generator) -> None:
    """What a camera adds, in place: a fall of light, little sharpness at times, exposure, noise; then [0, 255]."""
    size = canvas.shape[-1]
    line = np.linspace(-1, 1, size, dtype=np.float32)
    fx, fy = rng.uniform(-0.3, 0.3, 2).astype(np.float32)
    canvas *= (1 + fx * line) * (1 + fy * line)[:, None] * np.float32(rng.uniform(0.7, 1.3))
    if rng.random() < 0.3:
        for axis in (1, 2):
            canvas[:] = (canvas + np.roll(canvas, 1, axis)) * np.float32(0.5)
    if rng.random() < 0.3:
        canvas += np.float32(rng.uniform(2, 12)) * rng.standard_normal(canvas.shape, np.float32)
    np.clip(canvas, 0, 255, out=canvas)


def collages(pictures: NDArray[np.uint8], rng: np.random.Generator, share: float) -> NDArray[np.uint8]:
    """A share of pictures N×3×S×S becomes four of them at half their size, shifted round; all get more contrast.

    One scene leaves the teacher's last map less awake than a photograph does (mean root 0.80 against 1.03), and in
    fewer directions (15.6 against 18.0 by the participation ratio); of collages these are 0.98 and 19.5.
    """
    halves = pictures.astype(np.float32)
    halves = (halves[:, :, ::2] + halves[:, :, 1::2]) / 2
    halves = (halves[..., ::2] + halves[..., 1::2]) / 2
    found = []
    for picture in pictures.astype(np.float32):
        if rng.random() < share:
            a, b, c, d = halves[rng.integers(len(halves), size=4)]
            picture = np.concatenate([np.concatenate([a, b], 2), np.concatenate([c, d], 2)], 1)
            picture = np.roll(picture, rng.integers(picture.shape[-1], size=2), (1, 2))
        middle = picture.mean()
        found.append(np.clip((picture - middle) * np.float32(rng.uniform(0.9, 1.7)) + middle, 0, 255).astype(np.uint8))
    return np.stack(found)
