"""A small set of drawn images with three classes, for tests that need real files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("disc", "square", "stripes")


def draw(kind: str, rng: np.random.Generator, side: int = 48) -> Image.Image:
    """One image: a disc, a square or stripes in random colours at a random place, with noise."""
    y, x = np.mgrid[:side, :side]
    cy, cx, r = rng.uniform(0.35, 0.65) * side, rng.uniform(0.35, 0.65) * side, rng.uniform(0.2, 0.3) * side
    masks = {
        "disc": (y - cy) ** 2 + (x - cx) ** 2 < r**2,
        "square": (abs(y - cy) < r) & (abs(x - cx) < r),
        "stripes": np.sin((x * np.cos(cy) + y * np.sin(cy)) * 1.2) > 0,
    }
    front, back = rng.uniform(0, 255, (2, 3))
    picture = np.where(masks[kind][..., None], front, back) + rng.normal(0, 8, (side, side, 3))
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8))


def draw_folder(folder: Path, per_class: int = 16, seed: int = 0) -> Path:
    """A folder for each class with `per_class` PNG files."""
    rng = np.random.default_rng(seed)
    for kind in CLASSES:
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for _ in range(per_class):
            name = f"{rng.integers(2**40):x}.png"  # no running numbers: these are no bursts
            draw(kind, rng).save(folder / kind / name)
    return folder
