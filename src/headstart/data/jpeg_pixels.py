"""Pixels of a JPEG, by simplejpeg where that can decode it; what libjpeg says of damage is heard in any case."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFile

from headstart.data.jpeg_damage import libjpeg_warning, missing_end

try:  # optional: the same pixels as Pillow's decoder, about a quarter faster, and it says what libjpeg filled in
    import simplejpeg
except ImportError:
    simplejpeg = None

_JPEG_COLOURS = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}  # Pillow's mode → simplejpeg's name


def decode_jpeg(
    image: ImageFile.ImageFile, data: bytes, factor: int, *, blame: Callable[[str | None], None]
) -> NDArray[np.uint8] | None:
    """Pixels of a JPEG, or None where only Pillow can decode it; what libjpeg says of damage is heard in any case."""
    colours = _JPEG_COLOURS.get(image.mode)
    least = (image.width // factor, image.height // factor) if factor > 1 else (0, 0)
    is_asked = simplejpeg is not None  # what libjpeg had to fill in
    if simplejpeg is not None and colours:
        decode = functools.partial(
            simplejpeg.decode_jpeg, data, colorspace=colours, min_width=least[0], min_height=least[1]
        )
        if colours == "CMYK":  # as Adobe writes it, inverted or not: Pillow knows
            blame(libjpeg_warning(data, colours))
        else:
            try:
                return _three_channels(decode(strict=True))
            except ValueError:  # damaged or unsupported
                blame(libjpeg_warning(data, colours))
            try:
                return _three_channels(decode(strict=False))
            except ValueError:
                is_asked = False  # Pillow decides, so that both installations give the same answer
    if factor > 1:
        image.draft(image.mode, least)
    if not is_asked and colours:
        image.load()
        blame(missing_end(image, data))
    return None


def _three_channels(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2) if pixels.shape[2] == 1 else pixels
