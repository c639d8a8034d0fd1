"""A small real set of images for the gate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def draw_set(folder: Path, per_class: int = 26, split: str = "train") -> Path:
    """Two classes that raw pixels tell apart: bright above, bright below; noise over both."""
    rng = np.random.default_rng(0)
    for label, rows in (("above", slice(0, 16)), ("below", slice(16, 32))):
        (folder / split / label).mkdir(parents=True)
        for i in range(per_class):
            picture = rng.integers(0, 120, (32, 32, 3))
            picture[rows] += 100
            Image.fromarray(picture.astype(np.uint8)).save(folder / split / label / f"{i}.PNG")
    return folder
