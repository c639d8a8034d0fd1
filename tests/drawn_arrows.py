"""Arrows to the left and to the right: a set whose classes a horizontal flip exchanges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw


def draw_arrows(folder: Path, per_class: int) -> Path:
    """Arrows of many sizes, colours and places, in folders left/ and right/."""
    rng = np.random.default_rng(0)
    for name, sign in (("left", -1), ("right", 1)):
        (folder / name).mkdir(parents=True)
        for _ in range(per_class):
            paper, ink = (tuple(rng.integers(*span, size=3).tolist()) for span in ((150, 256), (0, 100)))
            picture = Image.new("RGB", (120, 120), paper)
            pen, length = ImageDraw.Draw(picture), int(rng.integers(25, 40))
            x, y = (int(rng.integers(50, 70)) for _ in range(2))
            tip = x + sign * length
            pen.line([(x - sign * length, y), (tip, y)], fill=ink, width=int(rng.integers(6, 11)))
            pen.polygon([(tip + sign * 14, y), (tip, y - 18), (tip, y + 18)], fill=ink)
            picture.save(folder / name / f"{rng.integers(2**40):x}.png")
    return folder
