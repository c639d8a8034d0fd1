"""Scene: one to six textured silhouettes before a background, every factor known; composed from a bank and a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.pretraining.bank import SIDES, Bank
from headstart.pretraining.silhouettes import Array

_MOST = 6  # objects in a scene


@dataclass(frozen=True)
class SceneObject:
    """One object in a scene: its silhouette and texture in the bank, its side and its centre in pixels."""

    silhouette: int
    texture: int
    side: int
    x: int
    y: int


@dataclass(frozen=True)
class Scene:
    """A picture and everything that made it.

    Args:
        picture: 3×S×S uint8.
        background: the texture behind. objects: back to front.
    """

    picture: NDArray[np.uint8]
    background: int
    objects: tuple[SceneObject, ...]


def draw_scene(bank: Bank, rng: np.random.Generator, size: int) -> Scene:
    """Compose one scene of S×S pixels."""
    background = int(rng.integers(len(bank.textures)))
    canvas = _crop(bank.textures[background], rng, size)
    _recolour(canvas, rng)
    objects = []
    for _ in range(int(rng.integers(1, _MOST + 1))):
        one = _object(bank, rng, size)
        _draw_object(canvas, one, bank=bank, rng=rng)
        objects.append(one)
    _photograph(canvas, rng)
    return Scene(canvas.astype(np.uint8), background, tuple(objects))


def draw_pictures(bank: Bank, *, seed: int, count: int, size: int) -> NDArray[np.uint8]:
    """Pictures N×3×S×S uint8 of so many scenes; the same seed gives the same bits."""
    rng = np.random.default_rng([seed, 3])
    return np.stack([draw_scene(bank, rng, size).picture for _ in range(count)])


def _object(bank: Bank, rng: np.random.Generator, size: int) -> SceneObject:
    side = SIDES[int(len(SIDES) * rng.random())]
    x, y = rng.integers(-side // 4, size + side // 4, 2)
    silhouette, texture = int(rng.integers(len(bank.silhouette_kinds))), int(rng.integers(len(bank.textures)))
    return SceneObject(silhouette=silhouette, texture=texture, side=side, x=int(x), y=int(y))


def _crop(texture: NDArray[np.uint8], rng: np.random.Generator, side: int) -> Array:
    """A square of a texture as floats, at its own scale or at half of it, flipped and rotated at random."""
    whole = texture.shape[-1]
    step = 2 if 2 * side <= whole and rng.random() < 0.4 else 1
    x, y = rng.integers(0, whole - step * side + 1, 2)
    square = texture[:, y : y + step * side : step, x : x + step * side : step]
    return _oriented(square, int(rng.integers(8))).astype(np.float32)


def _oriented(square: NDArray[np.uint8], which: int) -> NDArray[np.uint8]:
    """One of the eight orientations of a square C×S×S."""
    turned = square.swapaxes(1, 2) if which & 4 else square
    return turned[:, :: 1 if which & 1 else -1, :: 1 if which & 2 else -1]


def _recolour(square: Array, rng: np.random.Generator) -> None:
    """Change contrast and colour, in place: one gain and one offset for each channel."""
    gain = rng.uniform(0.4, 1.3) * rng.uniform(0.8, 1.2, 3)
    offset = 128 * (1 - gain) + rng.uniform(-60, 60) + rng.uniform(-25, 25, 3)
    square *= gain.astype(np.float32)[:, None, None]
    square += offset.astype(np.float32)[:, None, None]


def _draw_object(canvas: Array, one: SceneObject, *, bank: Bank, rng: np.random.Generator) -> None:
    """Draw an object on the canvas, in place, perhaps with a shadow; what hangs over the edge is cut off."""
    square = bank.silhouettes[SIDES.index(one.side)][one.silhouette]
    silhouette = _oriented(square, int(rng.integers(8))).astype(np.float32)
    silhouette *= np.float32(1 / 255)
    alpha, relief = silhouette
    surface = _crop(bank.textures[one.texture], rng, one.side)
    _recolour(surface, rng)
    depth = np.float32(rng.uniform(0, 1.2))
    surface *= (1 - depth * np.float32(0.8)) + depth * relief
    left, top = one.x - one.side // 2, one.y - one.side // 2
    if rng.random() < 0.4:
        dx, dy = rng.integers(-one.side // 8, one.side // 8 + 1, 2)
        blend(canvas, alpha * np.float32(rng.uniform(0.2, 0.6)), None, corner=(left + int(dx), top + int(dy)))
    blend(canvas, alpha, surface, corner=(left, top))


def blend(canvas: Array, alpha: Array, surface: Array | None, *, corner: tuple[int, int]) -> None:
    """canvas += alpha · (surface - canvas) where the two overlap, in place.

    Args:
        canvas: 3×S×S. alpha: T×T in [0, 1]. surface: 3×T×T; None is black.
        corner: x and y of the square's upper left pixel on the canvas; it may lie outside.
    """
    left, top = corner
    size, side = canvas.shape[-1], len(alpha)
    x0, x1, y0, y1 = max(left, 0), min(left + side, size), max(top, 0), min(top + side, size)
    if x0 >= x1 or y0 >= y1:
        return
    rows, columns = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
    covered = canvas[:, y0:y1, x0:x1]
    covered += alpha[rows, columns] * (-covered if surface is None else surface[:, rows, columns] - covered)


def _photograph(canvas: Array, rng: np.random.Generator) -> None:
    """What a camera adds, in place: a light gradient, blur at times, exposure, noise; then clip to [0, 255]."""
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
