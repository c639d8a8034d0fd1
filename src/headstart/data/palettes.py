"""Palettes that do not say what their pixels mean: with too few colours, or with 8-bit values where 16 bits belong."""

from __future__ import annotations

import numpy as np
from PIL import Image

_COLOUR_MAP = 320  # TIFF 6.0, section 5: all values of red, then of green, then of blue, of 16 bits each


def missing_colours(image: Image.Image) -> str | None:
    """Damage of an image of mode P that uses colours its palette lacks, which Pillow makes black; None without.

    Args:
        image: decoded.
    """
    count = len(image.getpalette() or ()) // 3
    uses = image.histogram()
    transparent = image.info.get("transparency")
    lacking = sum(uses[index] for index in range(count, len(uses)) if index != transparent)
    if not lacking:
        return None
    return f"damaged ({lacking:,} of its pixels have a colour that its palette of {count} lacks)"


def put_eight_bit_colours(image: Image.Image) -> tuple[str, ...]:
    """Mend the palette of a TIFF whose colours are 8-bit values, which are black as 16-bit ones, as libtiff does.

    Returns:
        A note, where it was done.
    """
    colours = np.asarray(getattr(image, "tag_v2", {}).get(_COLOUR_MAP, ()))
    if not colours.size or colours.size % 3 or not 0 < int(colours.max()) <= 255:
        return ()
    image.putpalette(colours.reshape(3, -1).T.astype(np.uint8).tobytes())
    return ("its palette has 8-bit colours",)
