"""Textures: squares of colour without an object; backgrounds of the scenes and surfaces of the objects in them."""

from __future__ import annotations

import numpy as np

from headstart.pretraining.silhouettes import Array, plane, rotated_plane, soft_edge

TEXTURE_KINDS = ("noise", "leaves", "waves", "gradient", "cells", "stripes")


def draw_texture(rng: np.random.Generator, kind: str, side: int) -> Array:
    """One texture, S×S×3 in [0, 1].

    Source: Baradad et al. 2021, arXiv:2106.05963: coloured 1/f noise and dead leaves; the other kinds are ours.
    """
    grey = _GREY.get(kind)
    picture = _leaves(rng, side) if grey is None else _coloured(rng, grey(rng, side))
    if kind != "noise" and rng.random() < 0.5:
        picture = picture + np.float32(rng.uniform(0.02, 0.15)) * (_noise(rng, side)[..., None] - 0.5)
    return np.asarray(np.clip(picture, 0.0, 1.0), np.float32)


def _coloured(rng: np.random.Generator, grey: Array) -> Array:
    """Grey values mapped to a path through two or three colours."""
    colours = palette(rng, 3)
    if rng.random() < 0.5:
        colours[1] = (colours[0] + colours[2]) / 2
    knots = np.array([0.0, rng.uniform(0.3, 0.7), 1.0], np.float32)
    return np.stack([np.interp(grey, knots, colours[:, c]) for c in range(3)], axis=-1).astype(np.float32)


def palette(rng: np.random.Generator, number: int) -> Array:
    """Colours N×3 in [0, 1]: mostly unsaturated, as in photographs, some bright."""
    value = rng.uniform(0.05, 1.0, (number, 1))
    tint = rng.normal(0, 1, (number, 3)) * rng.choice([0.04, 0.12, 0.3], (number, 1), p=[0.35, 0.4, 0.25])
    return np.asarray(np.clip(value + tint, 0.0, 1.0), np.float32)


def _spectrum(rng: np.random.Generator, side: int, *, slope: float, stretch: float = 1.0) -> Array:
    """1/f noise, perhaps finer along one direction; S×S, mean 0, standard deviation 1."""
    fy, fx = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :]
    angle = rng.uniform(0, np.pi)
    across = np.cos(angle) * fx + np.sin(angle) * fy
    along = np.cos(angle) * fy - np.sin(angle) * fx
    frequency = np.sqrt(across**2 + (stretch * along) ** 2) + 0.5 / side
    wave = rng.normal(size=frequency.shape) + 1j * rng.normal(size=frequency.shape)
    field = np.fft.irfft2(wave * frequency**-slope, s=(side, side))
    return np.asarray((field - field.mean()) / (field.std() + 1e-9), np.float32)


def _noise(rng: np.random.Generator, side: int) -> Array:
    stretch = float(np.exp(rng.uniform(0, 1.5))) if rng.random() < 0.5 else 1.0
    return _unit(0.5 + 0.22 * _spectrum(rng, side, slope=rng.uniform(0.6, 2.2), stretch=stretch))


def _leaves(rng: np.random.Generator, side: int) -> Array:
    """Dead leaves: discs, boxes or rotated boxes that occlude each other, small ones far more often; S×S×3."""
    picture: Array = np.array(np.broadcast_to(palette(rng, 1), (side, side, 3)))
    sizes = np.sort(0.03 * np.power(1 - rng.random(160) * 0.99, -0.5))[::-1]  # density falls as the cube of the radius
    colours = palette(rng, 160)
    x, y = plane(side)
    kind = rng.integers(3)
    for size, colour in zip(np.minimum(2 * sizes, 0.9), colours, strict=True):
        cx, cy, angle = rng.uniform(-1, 1), rng.uniform(-1, 1), rng.uniform(0, np.pi) * (kind == 2)
        u, v = x - np.float32(cx), y - np.float32(cy)
        c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        away = np.sqrt(u * u + v * v) if kind == 0 else np.maximum(np.abs(c * u + s * v), np.abs(c * v - s * u))
        picture += soft_edge(away - np.float32(size))[..., None] * (colour - picture)
    return picture


def _waves(rng: np.random.Generator, side: int) -> Array:
    """Sums of a few waves, bent by low-frequency noise."""
    x, y = rotated_plane(rng, side, 2.0)
    bend = np.float32(rng.uniform(0, 0.25)) * _spectrum(rng, side, slope=2.2)
    total = np.zeros_like(x)
    for _ in range(int(rng.integers(1, 4))):
        fx, fy = rng.uniform(-16, 16), rng.uniform(-4, 4)
        total += np.sin(np.float32(fx) * (x + bend) + np.float32(fy) * y + np.float32(rng.uniform(0, 6.3)))
    return _unit(0.5 + 0.5 * total / (np.abs(total).max() + np.float32(1e-6)))


def _gradient(rng: np.random.Generator, side: int) -> Array:
    x, y = rotated_plane(rng, side, 1.0)
    if rng.random() < 0.5:
        return _unit(0.5 + 0.5 * x)
    centre = rng.uniform(-0.8, 0.8, 2).astype(np.float32)
    return _unit(0.6 * np.sqrt((x - centre[0]) ** 2 + (y - centre[1]) ** 2))


def _cells(rng: np.random.Generator, side: int) -> Array:
    """Distance to the nearest of some points, or to the border between the two nearest."""
    x, y = plane(side)
    points = rng.uniform(-1.1, 1.1, (int(rng.integers(6, 60)), 2)).astype(np.float32)
    away = np.sqrt((x[..., None] - points[:, 0]) ** 2 + (y[..., None] - points[:, 1]) ** 2)
    nearest = np.partition(away, 1, axis=-1)[..., :2]
    grey = nearest[..., 1] - nearest[..., 0] if rng.random() < 0.5 else nearest[..., 0]
    return _unit(grey / (np.quantile(grey, 0.95) + np.float32(1e-6)))


def _stripes(rng: np.random.Generator, side: int) -> Array:
    """Sharp stripes, or with a second direction a chequerboard."""
    x, y = rotated_plane(rng, side, 1.5)
    x = x + np.float32(rng.uniform(0, 0.12)) * _spectrum(rng, side, slope=2.2)
    first = np.sin(np.float32(rng.uniform(5, 40)) * x)
    second = np.sin(np.float32(rng.uniform(5, 40)) * y) if rng.random() < 0.4 else np.float32(1.0)
    return _unit(0.5 + np.float32(rng.uniform(1, 6)) * first * second)


def _unit(values: Array) -> Array:
    """Values clipped to [0, 1]."""
    return np.asarray(np.clip(values, 0, 1), np.float32)


_GREY = {"noise": _noise, "waves": _waves, "gradient": _gradient, "cells": _cells, "stripes": _stripes}
