"""Netpbm files of more than 8 bits: what their header says that white is, and colours of which Pillow keeps 8 bits."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headstart.data.stored_pixels import ppm_layout

WHITE = 65535  # what a header says that knows nothing of 10 or 12 bits
BINARY = "netpbm"
"""In the place of a raw mode of Pillow, which cannot read the lower bytes of a netpbm."""
_BETWEEN = rb"(?:\s|#[^\n]*\n)+"
_HEADER = re.compile(rb"P[2356]" + _BETWEEN + rb"\d+" + _BETWEEN + rb"\d+" + _BETWEEN + rb"(\d+)")


def stated_white(data: bytes) -> int:
    """The largest value by the header of a netpbm in greys or colours; 0 for others.

    Source: netpbm, formats pgm and ppm ("Maxval").
    """
    found = _HEADER.match(data)
    return int(found[1]) if found else 0


def other_bytes(image: Image.Image, data: bytes) -> str | None:
    """As `deep_pixels.other_bytes`: `BINARY` for colours of 16 bits, empty where they are written as text."""
    if image.mode != "RGB" or stated_white(data) != WHITE:
        return None
    return BINARY if data[:2] == b"P6" else ""


def deep_colours(image: Image.Image, data: bytes) -> NDArray[np.uint16]:
    """H×W×3 values from 0 to 65535 of a binary netpbm in colours of 16 bits.

    Raises:
        ValueError: it is another one.
    """
    stored = ppm_layout(image, data)  # type: ignore[arg-type]  # only its data are looked at
    if stored is None:
        raise ValueError("not binary")
    values = np.frombuffer(data[stored.begin : stored.end], ">u2")
    return values.reshape(image.height, image.width, 3).astype(np.uint16)
