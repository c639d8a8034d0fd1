"""Check: images that are very small, very long, or of a very different size than the others."""

from __future__ import annotations

import numpy as np

from headstart.data.audit.check import AuditInput
from headstart.data.finding import Finding
from headstart.wording import counted

_TINY = 32  # pixels of the shorter side: every backbone but the CIFAR ones enlarges such images
_LONG = 4  # longer : shorter side; a square crop then shows less than a quarter
_FACTOR = 8  # times smaller or larger than the median of the shorter sides


def check_image_sizes(images: AuditInput) -> list[Finding]:
    """A note `unusual-size` for each of the three kinds."""
    if not images.readable.any():
        return []
    short, long = np.minimum(images.widths, images.heights), np.maximum(images.widths, images.heights)
    usual = float(np.median(short[images.readable]))
    tiny = short < _TINY
    different = ((short < usual / _FACTOR) | (short > usual * _FACTOR)) & ~tiny
    kinds = (
        (tiny, f"shorter than {_TINY} px on one side: little detail"),
        (long > _LONG * short, f"more than {_LONG} times as long as wide: a square crop shows less than a quarter"),
        (different, f"more than eight times smaller or larger than the median of {usual:.0f} px"),
    )
    found = [(np.flatnonzero(mask & images.readable).tolist(), text) for mask, text in kinds]
    return [
        images.finding("unusual-size", f"{counted(len(chosen), 'image')} {text}.", severity="note", images=chosen)
        for chosen, text in found
        if chosen
    ]
