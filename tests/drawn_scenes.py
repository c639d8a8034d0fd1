"""Drawn scenes with as much to see as a photograph, and the changes that make duplicates of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from headstart.data.image_set import Sample

Change = Callable[[Image.Image], Image.Image]


def scene(seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """Coloured clouds from coarse to fine with a few sharp-edged blocks; another seed is another picture."""
    rng = np.random.default_rng(seed)
    width, height = size
    layers = [gaussian_filter(rng.normal(size=(height, width, 3)), (s, s, 0)) for s in (24, 8, 3, 1)]
    picture = sum(40 / (k + 1) * layer / layer.std() for k, layer in enumerate(layers)) + rng.uniform(90, 160, 3)
    for _ in range(6):
        x, y = rng.integers(0, max(1, width - 20)), rng.integers(0, max(1, height - 20))
        picture[y : y + rng.integers(8, 40), x : x + rng.integers(8, 40)] += rng.uniform(-50, 50, 3)
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8))


def resized(share: float) -> Change:
    """Both sides times a share."""
    return lambda image: image.resize((round(image.width * share), round(image.height * share)))


def cropped(left: float, top: float, right: float, bottom: float) -> Change:
    """These shares of width and height cut off."""
    return lambda image: image.crop(
        (
            round(left * image.width),
            round(top * image.height),
            round((1 - right) * image.width),
            round((1 - bottom) * image.height),
        )
    )


def pixels(image: Image.Image) -> NDArray[np.uint8]:
    """H×W×3 of a picture."""
    return np.asarray(image.convert("RGB"))


def mirrored(image: Image.Image) -> Image.Image:
    """Left and right exchanged."""
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def save(path: Path, image: Image.Image, **options: object) -> Path:
    """Save, with the folder made where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def sample(path: Path, label: str | None = None, split: str | None = None) -> Sample:
    """A sample named by its file's name alone."""
    return Sample(path, path.name, label, split)
