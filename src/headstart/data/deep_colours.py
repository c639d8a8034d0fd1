"""Colours of 16 bits as 8-bit RGB: Pillow keeps the upper byte of each alone."""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from headstart.data import deep_pixels, netpbm
from headstart.data.image_memory import MOST_PIXELS

_DARK = 64  # upper byte: below it the lower one is looked at, too


class EightBits(NamedTuple):
    """An image with 8 bits, its largest value of 16 bits, and what was done to it, for people."""

    image: Image.Image
    brightest: int
    notes: tuple[str, ...] = ()


def eight_bit_colours(image: ImageFile.ImageFile, data: bytes, other: str, *, bit_depth: int) -> EightBits | None:
    """An image of 16-bit colours on the scale of a bit depth; None where its lower bytes are needed and not had.

    Args:
        image: decoded. data: the bytes of its file.
        other: how Pillow takes the lower byte, see `deep_pixels.other_bytes`; empty: not at all.
    """
    upper = np.asarray(image)
    most = int(upper[..., :3].max())
    if bit_depth == 16 and (most >= _DARK or not other):
        return EightBits(image, most * 257)
    if not other or image.width * image.height > MOST_PIXELS:
        return None
    values = _values(image, data, other)
    colours, alpha = values[..., :3], values[..., 3:]
    brightest = int(colours.max())
    notes = (deep_pixels.deep_note(brightest, bit_depth),)
    if bit_depth == 16:
        return EightBits(image, brightest, notes)
    scale = deep_pixels.GreyScale(0.0, 255 / (2**bit_depth - 1))
    is_deep_alpha = alpha.size and alpha.max() <= 2**bit_depth - 1  # of the same few bits; else 65,535 is opaque
    opaque = deep_pixels.to_grey(alpha, scale) if is_deep_alpha else upper[..., 3:]
    return EightBits(
        Image.fromarray(np.concatenate([deep_pixels.to_grey(colours, scale), opaque], axis=2)), brightest, notes
    )


def _values(image: ImageFile.ImageFile, data: bytes, other: str) -> NDArray[np.float64]:
    """The colours, and alpha where there is one, H×W×3 or 4, 0 to 65535."""
    if other == netpbm.BINARY:
        return netpbm.deep_colours(image, data).astype(np.float64)
    second = Image.open(io.BytesIO(data), formats=(str(image.format),))
    second.tile = [
        tile._replace(args=(other, *tile.args[1:]) if isinstance(tile.args, tuple) else other) for tile in second.tile
    ]
    lower = np.asarray(second)
    lower = lower[..., [1, 1, 1, 3]] if other == deep_pixels.FOUR_BYTES else lower
    values: NDArray[np.float64] = np.asarray(image).astype(np.float64) * 256 + lower
    return values
