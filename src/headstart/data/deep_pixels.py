"""Pixels of more than 8 bits to 8-bit grey or RGB on one fixed scale, so that the images of a set stay comparable.

In: a decoded Pillow image of mode I, I;16 or F, or the two halves of 16-bit colours. Out: uint8.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float64]

_BAND = 1 << 20  # pixels converted at once: float64 takes 8 bytes for each
_TWELVE = 12  # bits of a TIFF that Pillow unpacks to 16 without a word
_WHITE_IS_ZERO = 0  # TIFF 6.0, PhotometricInterpretation
FOUR_BYTES = "RGBA"
"""Raw mode of a pixel of 16-bit grey with alpha: the second byte is the lower one of its grey."""


@dataclass(frozen=True)
class GreyScale:
    """How the values of one image become grey levels: (value − low) · factor, clipped to 0…255.

    Args:
        note: what is done, for people. brightest: largest value of a 16-bit image; 0 for others.
    """

    low: float
    factor: float
    note: str = ""
    brightest: int = 0


def is_deep(mode: str) -> bool:
    """Whether Pillow keeps such an image with more than 8 bits a pixel."""
    return mode.startswith("I") or mode == "F"


def values_of(image: Image.Image, band: Image.Image | None = None) -> Floats:
    """The values of an image of mode I, I;16 or F, or of a band of it, as the file means them, H×W.

    Pillow leaves out three things: that white is zero (which it knows for 8 bits only), that 32 bits have no sign, and
    that 12 bits have another white than 16.
    """
    values = np.asarray(band or image)
    tags = getattr(image, "tag_v2", {})
    bits, kind = tags.get(258, (0,)), tags.get(339, (1,))
    bits, kind = (one[0] if isinstance(one, tuple) else one for one in (bits, kind))
    if image.mode == "I" and bits == 32 and kind == 1:
        values = values.view(np.uint32)
    with np.errstate(invalid="ignore"):  # NaN of the signalling kind: who looks for numbers that are none says so
        floats: Floats = values.astype(np.float64)
    if image.mode.startswith("I;16") and bits == _TWELVE:  # packed: here the file itself says what white is
        floats = (floats * (65535 / (2**_TWELVE - 1))).round()
    if tags.get(262) == _WHITE_IS_ZERO and image.mode != "I":
        floats = (1.0 if image.mode == "F" else 65535.0) - floats
    return floats


def bands(image: Image.Image, rows: int = 0) -> Iterator[Image.Image]:
    """The image in horizontal bands from top to bottom; itself when it is small.

    Args:
        rows: the height of a band is a multiple of this; 0: any.
    """
    height = max(_BAND // max(image.width, 1), 1)
    height = max(height // rows, 1) * rows if rows else height
    if height >= image.height:
        yield image
        return
    for top in range(0, image.height, height):
        yield image.crop((0, top, image.width, min(top + height, image.height)))


def grey_scale(image: Image.Image, bit_depth: int) -> GreyScale | None:
    """The scale for one image by its smallest and largest value; None when its values are not all finite.

    Args:
        bit_depth: of the values in 16-bit files: 2^bit_depth − 1 becomes white.
    """
    low, high = np.inf, -np.inf
    for band in bands(image):
        values = values_of(image, band)
        if not np.isfinite(values).all():
            return None
        low, high = min(low, float(values.min())), max(high, float(values.max()))
    if image.mode != "F" and low >= 0 and high <= 65535:
        # a fixed scale, so that images stay comparable; the format's white stays white
        return GreyScale(0.0, 255 / (2**bit_depth - 1), deep_note(int(high), bit_depth), brightest=int(high))
    if image.mode == "F" and low >= 0 and high <= 1:
        return GreyScale(0.0, 255.0)
    return GreyScale(low, 255 / max(high - low, 1e-12), f"values {low:g} to {high:g} scaled to 0…255")


def deep_note(high: int, bit_depth: int) -> str:
    """What was done to a 16-bit image whose largest value is given, for people."""
    white = 2**bit_depth - 1
    clipped = ", brighter pixels clipped" if high > white else ""
    return f"16 bit, brightest value {high} of {white}{clipped}"


def to_grey(values: Floats, scale: GreyScale) -> NDArray[np.uint8]:
    """H×W grey levels."""
    grey: NDArray[np.uint8] = ((values - scale.low) * scale.factor).round().clip(0, 255).astype(np.uint8)
    return grey


def other_bytes(image: Image.Image) -> str | None:
    """The raw mode in which Pillow takes the lower byte of each 16-bit colour; None for 8 bits, empty if it has none.

    Pillow keeps the upper byte of 16-bit colours alone. Read in the other byte order it keeps the lower one.
    """
    tiles = getattr(image, "tile", ())
    raw = tiles[0].args if tiles else ""
    raw = raw[0] if isinstance(raw, tuple) else raw
    if not isinstance(raw, str) or not raw.startswith(("RGB;16", "RGBA;16", "LA;16")):
        return None
    name, _, order = raw.partition(";16")
    order = {"N": "L" if sys.byteorder == "little" else "B"}.get(order, order)
    other = {"B": "L", "L": "B"}.get(order)
    if name == "LA":  # Pillow reads grey with alpha in one order only; as four bytes all of it is there
        return FOUR_BYTES if order == "B" else ""
    return f"{name};16{other}" if other else ""
