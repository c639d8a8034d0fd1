"""The transparent colour of a PNG without alpha (tRNS), which Pillow may pass on in another scale than the pixels."""

from __future__ import annotations

from PIL import Image

_KEY = "transparency"  # Pillow's name in `info`


def scale_transparent_colour(image: Image.Image, data: bytes) -> tuple[str, ...]:
    """Put the transparent colour of a decoded PNG on the scale of its pixels; 16-bit grey keeps its own.

    Pillow spreads grey of 2 and 4 bits over 0 to 255 and leaves this colour at 0 to 3 or 15; of 16-bit RGB it keeps
    the upper bytes, in which the colour cannot be found.

    Returns:
        A note, where the colour cannot be used.

    Source: PNG specification, third edition, 11.3.1.1 (tRNS).
    """
    colour, depth = image.info.get(_KEY), data[24]
    if image.mode == "L" and depth in (2, 4) and isinstance(colour, int):
        image.info[_KEY] = colour * 255 // (2**depth - 1)
    if image.mode == "RGB" and depth == 16 and colour is not None:
        del image.info[_KEY]
        return ("its transparent colour of 16 bits is not applied",)
    return ()


def transparent_value(image: Image.Image) -> int | None:
    """The value of 16-bit grey that is transparent; None without one."""
    colour = image.info.get(_KEY)
    return colour if isinstance(colour, int) and image.mode.startswith("I") else None
