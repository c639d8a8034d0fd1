"""Thumbnails: an image file as a small picture that is embedded in a web page.

In: a path, or RGB pixels. Out: Thumbnail with a `data:` URL. `images.open_image` decodes.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headstart.data.images import ImageRules, open_image

SIDE = 160  # pixels: sharp at 128 on most screens, 7 kB; sixty of them are half a megabyte
_QUALITY = 80


@dataclass(frozen=True)
class Thumbnail:
    """A small picture as a `data:` URL, and its size in pixels."""

    address: str
    width: int
    height: int


def thumbnail(path: Path, *, side: int = SIDE, rules: ImageRules | None = None) -> Thumbnail:
    """The image in a file, upright, its longer side at most `side` pixels.

    Raises:
        BadImage: the file cannot be read, with its reason.
    """
    return encode_thumbnail(open_image(path, rules).rgb, side=side)


def encode_thumbnail(rgb: NDArray[np.uint8], *, side: int = SIDE) -> Thumbnail:
    """RGB pixels as a JPEG of at most `side` pixels; one of at most half that side is kept exactly, as PNG.

    Args:
        rgb: H×W×3, 0 to 255.
    """
    content, kind, size = encode_small(rgb, side=side)
    return Thumbnail(f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}", *size)


def encode_small(rgb: NDArray[np.uint8], *, side: int = SIDE) -> tuple[bytes, str, tuple[int, int]]:
    """The same picture as bytes of a file, with its kind (`jpeg` or `png`), width and height."""
    image = Image.fromarray(rgb)
    longest = max(image.size)
    buffer = io.BytesIO()
    if longest <= side // 2:  # JPEG would blur so few pixels
        image.save(buffer, "PNG")
        return buffer.getvalue(), "png", image.size
    if longest > side:
        width, height = (max(1, round(length * side / longest)) for length in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)
    image.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue(), "jpeg", image.size
