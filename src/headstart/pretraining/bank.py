"""Bank: parts and textures drawn once, in several sizes, so that a scene is put together by copying squares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from headstart.pretraining.contours import draw_contours
from headstart.pretraining.fractals import draw_fractals
from headstart.pretraining.limbs import draw_limbs
from headstart.pretraining.parts import Array, Parts
from headstart.pretraining.textures import KINDS, draw_texture

PART_KINDS = ("contour", "fractal", "limbs")
SIDES = (112, 80, 56, 40, 26)  # pixels of a part, each about 0.7 of the one before
TEXTURE_SIDE = 192

_DRAW: tuple[Callable[[np.random.Generator, int, int], Parts], ...] = (draw_contours, draw_fractals, draw_limbs)


@dataclass(frozen=True)
class Bank:
    """What scenes are made of.

    Args:
        parts: for every side of SIDES, N×2×S×S uint8: alpha and relief. part_kinds: N, index into PART_KINDS.
        textures: M×3×T×T uint8. texture_kinds: M, index into textures.KINDS.
    """

    parts: tuple[NDArray[np.uint8], ...]
    part_kinds: NDArray[np.int64]
    textures: NDArray[np.uint8]
    texture_kinds: NDArray[np.int64]


def draw_bank(seed: int, *, parts: int, textures: int, progress: Callable[[int, int], None] | None = None) -> Bank:
    """Draw a bank; the same numbers give the same bits, and every kind is as frequent as the others.

    Args:
        parts: of each kind. textures: of each kind.
        progress: called with kinds done and kinds in all.
    """
    kinds = len(PART_KINDS) + len(KINDS)
    on_event = progress or (lambda done, total: None)
    drawn, skins = [], []
    for number, draw in enumerate(_DRAW):
        drawn.append(draw(np.random.default_rng([seed, 1, number]), parts, SIDES[0]))
        on_event(number + 1, kinds)
    for number, kind in enumerate(KINDS):
        rng = np.random.default_rng([seed, 2, number])
        skins += [_bytes(draw_texture(rng, kind, TEXTURE_SIDE).transpose(2, 0, 1)) for _ in range(textures)]
        on_event(len(PART_KINDS) + number + 1, kinds)
    both = np.concatenate([np.stack([one.alpha, one.relief], axis=1) for one in drawn])
    return Bank(
        parts=tuple(_shrunk(both, side) for side in SIDES),
        part_kinds=np.repeat(np.arange(len(PART_KINDS)), parts),
        textures=np.ascontiguousarray(np.stack(skins)),
        texture_kinds=np.repeat(np.arange(len(KINDS)), textures),
    )


def _bytes(values: Array) -> NDArray[np.uint8]:
    return np.asarray(np.rint(values * 255.0), np.uint8)


def _shrunk(pictures: Array, side: int) -> NDArray[np.uint8]:
    """N×2×S×S at another size, by areas."""
    if side == pictures.shape[2]:
        return _bytes(pictures)
    small = F.interpolate(torch.from_numpy(pictures), size=(side, side), mode="bilinear", antialias=True)
    return _bytes(small.clamp(0, 1).numpy())
