"""Damage of BMP files: as many bytes as their size needs, and a colour for each pixel."""

from __future__ import annotations

import struct

import numpy as np
from PIL import ImageFile

from headstart.data.stored_pixels import Stored, bmp_layout

_BMP_SURPLUS = 8  # bytes: some writers pad the file
_BMP_PACKINGS = {
    0: "not packed",
    1: "run lengths",
    2: "run lengths",
    3: "bit masks",
    4: "JPEG",
    5: "PNG",
    6: "bit masks",
}


def check_bmp(image: ImageFile.ImageFile, data: bytes) -> str | None:
    """As many bytes as its size needs, no more and no less."""
    stored = bmp_layout(image, data)
    if stored is None:
        return None  # run lengths: the decoder decides
    needed, found = stored.end - stored.begin, len(data) - stored.begin
    if found < needed:
        return f"truncated ({found:,} of {needed:,} bytes of image data)"
    if found - needed > _BMP_SURPLUS:
        return f"damaged ({found:,} bytes of image data, but {image.width}×{image.height} pixels need {needed:,})"
    return _beyond_palette(image, data, stored)


def _beyond_palette(image: ImageFile.ImageFile, data: bytes, stored: Stored) -> str | None:
    """Whether pixels of a byte each have no colour: a palette of greys is grey for Pillow, however short it is."""
    bits, colours = struct.unpack_from("<H", data, 28)[0], struct.unpack_from("<I", data, 46)[0]
    if bits != 8 or not 0 < colours <= 255 or image.mode == "P":  # for P see `palettes.missing_colours`
        return None
    rows = np.frombuffer(data[stored.begin : stored.end], np.uint8).reshape(-1, stored.row)
    lacking = int((rows[:, : image.width] >= colours).sum())
    return f"damaged ({lacking:,} of its pixels have a colour that its palette of {colours} lacks)" if lacking else None


def reason_of_bmp(data: bytes, error: Exception) -> str | None:
    """Why Pillow cannot open a whole BMP: a packing that it does not know; None for others.

    Source: BITMAPINFOHEADER of the Windows API.
    """
    if len(data) < 54 or struct.unpack_from("<I", data, 14)[0] < 40:
        return None
    bits, packing = struct.unpack_from("<HI", data, 28)
    if packing not in _BMP_PACKINGS:
        return None
    held = f"of {bits} bits ({_BMP_PACKINGS[packing]})" if bits else f"that holds a {_BMP_PACKINGS[packing]}"
    return f"a BMP {held}, which is not supported; save it as PNG"
