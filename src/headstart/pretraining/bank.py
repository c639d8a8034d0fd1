"""Bank: silhouettes and textures drawn once, in several sizes, so that a scene is composed by copying squares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from headstart.pretraining.silhouettes import Array, Silhouettes, draw_contours, draw_fractals, draw_limbs
from headstart.pretraining.textures import TEXTURE_KINDS, draw_texture

SILHOUETTE_KINDS = ("contour", "fractal", "limbs")
SIDES = (112, 80, 56, 40, 26)  # pixels of a silhouette, each about 0.7 of the one before
TEXTURE_SIDE = 192

_DRAW: tuple[Callable[[np.random.Generator, int, int], Silhouettes], ...] = (draw_contours, draw_fractals, draw_limbs)


@dataclass(frozen=True)
class Bank:
    """What scenes are made of.

    Args:
        silhouettes: for every side of SIDES, N×2×S×S uint8: alpha and relief.
        silhouette_kinds: N, index into SILHOUETTE_KINDS.
        textures: M×3×T×T uint8. texture_kinds: M, index into TEXTURE_KINDS.
    """

    silhouettes: tuple[NDArray[np.uint8], ...]
    silhouette_kinds: NDArray[np.int64]
    textures: NDArray[np.uint8]
    texture_kinds: NDArray[np.int64]


def draw_bank(seed: int, *, silhouettes: int, textures: int) -> Bank:
    """Draw a bank; the same numbers give the same bits, and every kind is as frequent as the others.

    Args:
        silhouettes: of each kind. textures: of each kind.
    """
    drawn = [draw(np.random.default_rng([seed, 1, number]), silhouettes, SIDES[0]) for number, draw in enumerate(_DRAW)]
    pictures = []
    for number, kind in enumerate(TEXTURE_KINDS):
        rng = np.random.default_rng([seed, 2, number])
        pictures += [_bytes(draw_texture(rng, kind, TEXTURE_SIDE).transpose(2, 0, 1)) for _ in range(textures)]
    both = np.concatenate([np.stack([one.alpha, one.relief], axis=1) for one in drawn])
    return Bank(
        silhouettes=tuple(_resized(both, side) for side in SIDES),
        silhouette_kinds=np.repeat(np.arange(len(SILHOUETTE_KINDS)), silhouettes),
        textures=np.ascontiguousarray(np.stack(pictures)),
        texture_kinds=np.repeat(np.arange(len(TEXTURE_KINDS)), textures),
    )


def _bytes(values: Array) -> NDArray[np.uint8]:
    return np.asarray(np.rint(values * 255.0), np.uint8)


def _resized(pictures: Array, side: int) -> NDArray[np.uint8]:
    """N×2×S×S at a smaller size, antialiased."""
    if side == pictures.shape[2]:
        return _bytes(pictures)
    small = F.interpolate(torch.from_numpy(pictures), size=(side, side), mode="bilinear", antialias=True)
    return _bytes(small.clamp(0, 1).numpy())
