"""Scene: one to six parts before a background, every factor known; drawn from a bank and a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.pretraining.bank import SIDES, Bank
from headstart.pretraining.parts import Array

_MOST = 6  # parts in a scene


@dataclass(frozen=True)
class Thing:
    """One part in a scene: which of the bank, which texture it wears, its side and its centre in pixels."""

    part: int
    texture: int
    side: int
    x: int
    y: int


@dataclass(frozen=True)
class Scene:
    """A picture and everything that made it.

    Args:
        picture: 3×S×S uint8.
        background: the texture behind. things: back to front.
    """

    picture: NDArray[np.uint8]
    background: int
    things: tuple[Thing, ...]


def draw_scene(bank: Bank, rng: np.random.Generator, size: int) -> Scene:
    """Put one scene of S×S pixels together."""
    background = int(rng.integers(len(bank.textures)))
    canvas = _crop(bank.textures[background], rng, size)
    _recolour(canvas, rng)
    things = []
    for _ in range(int(rng.integers(1, _MOST + 1))):
        thing = _place(bank, rng, size)
        _lay(canvas, bank, thing, rng)
        things.append(thing)
    _photograph(canvas, rng)
    return Scene(canvas.astype(np.uint8), background, tuple(things))


def draw_pictures(bank: Bank, seed: int, count: int, size: int) -> NDArray[np.uint8]:
    """Pictures N×3×S×S uint8 of so many scenes; the same seed gives the same bits."""
    rng = np.random.default_rng([seed, 3])
    return np.stack([draw_scene(bank, rng, size).picture for _ in range(count)])


def _place(bank: Bank, rng: np.random.Generator, size: int) -> Thing:
    side = SIDES[int(len(SIDES) * rng.random())]
    x, y = rng.integers(-side // 4, size + side // 4, 2)
    return Thing(int(rng.integers(len(bank.part_kinds))), int(rng.integers(len(bank.textures))), side, int(x), int(y))


def _crop(texture: NDArray[np.uint8], rng: np.random.Generator, side: int) -> Array:
    """A square of a texture as floats, at its own scale or at half of it, mirrored and turned at random."""
    whole = texture.shape[-1]
    step = 2 if 2 * side <= whole and rng.random() < 0.4 else 1
    x, y = rng.integers(0, whole - step * side + 1, 2)
    square = texture[:, y : y + step * side : step, x : x + step * side : step]
    return _turn(square, int(rng.integers(8))).astype(np.float32)


def _turn(square: NDArray[np.uint8], which: int) -> NDArray[np.uint8]:
    """One of the eight ways to lay a square C×S×S."""
    turned = square.swapaxes(1, 2) if which & 4 else square
    return turned[:, :: 1 if which & 1 else -1, :: 1 if which & 2 else -1]


def _recolour(square: Array, rng: np.random.Generator) -> None:
    """Another contrast and another colour, in place: one gain and one offset for each channel."""
    gain = rng.uniform(0.4, 1.3) * rng.uniform(0.8, 1.2, 3)
    offset = 128 * (1 - gain) + rng.uniform(-60, 60) + rng.uniform(-25, 25, 3)
    square *= gain.astype(np.float32)[:, None, None]
    square += offset.astype(np.float32)[:, None, None]


def _lay(canvas: Array, bank: Bank, thing: Thing, rng: np.random.Generator) -> None:
    """Lay a part over the canvas, in place, perhaps with a shadow; what hangs over the edge is cut off."""
    part = _turn(bank.parts[SIDES.index(thing.side)][thing.part], int(rng.integers(8))).astype(np.float32)
    part *= np.float32(1 / 255)
    skin = _crop(bank.textures[thing.texture], rng, thing.side)
    _recolour(skin, rng)
    depth = np.float32(rng.uniform(0, 1.2))
    skin *= (1 - depth * np.float32(0.8)) + depth * part[1]
    left, top = thing.x - thing.side // 2, thing.y - thing.side // 2
    if rng.random() < 0.4:
        dx, dy = rng.integers(-thing.side // 8, thing.side // 8 + 1, 2)
        _blend(canvas, part[0] * np.float32(rng.uniform(0.2, 0.6)), None, left + int(dx), top + int(dy))
    _blend(canvas, part[0], skin, left, top)


def _blend(canvas: Array, alpha: Array, skin: Array | None, left: int, top: int) -> None:
    """canvas += alpha · (skin - canvas) where the two overlap; no skin is black."""
    size, side = canvas.shape[-1], len(alpha)
    x0, x1, y0, y1 = max(left, 0), min(left + side, size), max(top, 0), min(top + side, size)
    if x0 >= x1 or y0 >= y1:
        return
    rows, columns = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
    there = canvas[:, y0:y1, x0:x1]
    there += alpha[rows, columns] * (-there if skin is None else skin[:, rows, columns] - there)


def _photograph(canvas: Array, rng: np.random.Generator) -> None:
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
