"""Scene: one or two surfaces and the things upon them, every factor known; drawn from a bank and a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.pretraining.bank import Bank
from headstart.pretraining.parts import Array
from headstart.pretraining.paste import blend, border, collages, crop, photograph, recolour, turn

_MOST = 4  # things that stand alone in a scene
_STREWN = (4, 14)  # copies of one small thing


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
        background: the texture behind. second: the one that covers some of it, if any. things: back to front.
    """

    picture: NDArray[np.uint8]
    background: int
    second: int | None
    things: tuple[Thing, ...]


def draw_scene(bank: Bank, rng: np.random.Generator, size: int) -> Scene:
    """Put one scene of S×S pixels together."""
    background = int(rng.integers(len(bank.textures)))
    canvas = _surface(bank, background, rng, size)
    second = int(rng.integers(len(bank.textures))) if rng.random() < 0.4 else None
    if second is not None:
        grain = crop(bank.textures[rng.choice(np.flatnonzero(bank.texture_kinds == 0))], rng, size)[0]  # 1/f noise
        canvas += border(grain, rng) * (_surface(bank, second, rng, size) - canvas)
    things = _strewn(bank, rng, size) if rng.random() < 0.15 else []
    for _ in range(int(rng.integers(1, _MOST + 1))):
        things += _with_pieces(bank, _place(bank, rng, size), rng)
    for thing in things:
        _lay(canvas, bank, thing, rng)
    photograph(canvas, rng)
    return Scene(canvas.astype(np.uint8), background, second, tuple(things))


def draw_pictures(bank: Bank, seed: int, count: int, size: int, *, collage: float = 0.0) -> NDArray[np.uint8]:
    """Pictures N×3×S×S uint8 of so many scenes; the same seed gives the same bits.

    Args:
        collage: share of the pictures that are put together of four others, and all of which have more contrast; S is
            even then.
    """
    rng = np.random.default_rng([seed, 3])
    pictures = np.stack([draw_scene(bank, rng, size).picture for _ in range(count)])
    return collages(pictures, np.random.default_rng([seed, 4]), collage) if collage else pictures


def _surface(bank: Bank, texture: int, rng: np.random.Generator, size: int) -> Array:
    square = crop(bank.textures[texture], rng, size)
    recolour(square, rng)
    return square


def _place(bank: Bank, rng: np.random.Generator, size: int) -> Thing:
    side = bank.sides[int(len(bank.parts) * rng.random())]
    x, y = rng.integers(-side // 4, size + side // 4, 2)
    return _thing(bank, rng, side, int(x), int(y))


def _thing(bank: Bank, rng: np.random.Generator, side: int, x: int, y: int) -> Thing:
    return Thing(int(rng.integers(len(bank.part_kinds))), int(rng.integers(len(bank.textures))), side, x, y)


def _strewn(bank: Bank, rng: np.random.Generator, size: int) -> list[Thing]:
    """One of the smaller parts many times, like leaves on the ground."""
    side = int(rng.choice(bank.sides[2:]))
    one = _thing(bank, rng, side, 0, 0)
    places = rng.integers(0, size, (int(rng.integers(*_STREWN)), 2))
    return [Thing(one.part, one.texture, side, int(x), int(y)) for x, y in places]


def _with_pieces(bank: Bank, whole: Thing, rng: np.random.Generator) -> list[Thing]:
    """A thing, and at times one to three smaller ones upon it."""
    smaller = [side for side in bank.sides if side < whole.side]
    things = [whole]
    if smaller and rng.random() < 0.3:
        for _ in range(int(rng.integers(1, 4))):
            side = int(rng.choice(smaller))
            dx, dy = rng.integers(-whole.side // 3, whole.side // 3 + 1, 2)
            things.append(_thing(bank, rng, side, whole.x + int(dx), whole.y + int(dy)))
    return things


def _lay(canvas: Array, bank: Bank, thing: Thing, rng: np.random.Generator) -> None:
    """Lay a part over the canvas, in place, perhaps with a shadow; what hangs over the edge is cut off."""
    part = turn(bank.parts[bank.sides.index(thing.side)][thing.part], int(rng.integers(8))).astype(np.float32)
    part *= np.float32(1 / 255)
    skin = crop(bank.textures[thing.texture], rng, thing.side)
    recolour(skin, rng)
    depth = np.float32(rng.uniform(0, 1.2))
    skin *= (1 - depth * np.float32(0.8)) + depth * part[1]
    left, top = thing.x - thing.side // 2, thing.y - thing.side // 2
    if rng.random() < 0.4:
        dx, dy = rng.integers(-thing.side // 8, thing.side // 8 + 1, 2)
        blend(canvas, part[0] * np.float32(rng.uniform(0.2, 0.6)), None, left + int(dx), top + int(dy))
    blend(canvas, part[0], skin, left, top)
