"""Pixels of a JPEG, by simplejpeg where that can decode it; what libjpeg says of damage is heard in any case."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFile

from headstart.data.jpeg_damage import libjpeg_warning, missing_end
from headstart.data.jpeg_range import beyond_range, has_clipped_blocks
from headstart.data.jpeg_steps import colour_step

try:  # optional: the same pixels as Pillow's decoder, about a quarter faster, and it says what libjpeg filled in
    import simplejpeg
except ImportError:
    simplejpeg = None

_SMALL = 150_000  # pixels: in larger pictures nearly all that is beyond the range shows a step, too, and costs less
_JPEG_COLOURS = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}  # Pillow's mode → simplejpeg's name


def decode_jpeg(
    image: ImageFile.ImageFile,
    data: bytes,
    factor: int,
    *,
    blame: Callable[[str | None], None],
    suspect: Callable[[str | None], None] | None = None,
) -> NDArray[np.uint8] | None:
    """Pixels of a JPEG, or None where only Pillow can decode it; what libjpeg says of damage is heard in any case.

    Args:
        blame: takes the reason why it is damaged, or None. suspect: takes the reason why it probably is, or None;
            where there is nobody to take it, damage that needs a second look is not looked for.
    """
    colours = _JPEG_COLOURS.get(image.mode)
    least = (image.width // factor, image.height // factor) if factor > 1 else (0, 0)
    is_asked = False  # what libjpeg had to fill in; where it is not, Pillow decides, with or without simplejpeg
    if simplejpeg is not None and colours == "CMYK":  # as Adobe writes it, inverted or not: Pillow knows
        is_asked = _has_known_subsampling(data)
        if is_asked:
            blame(libjpeg_warning(data, colours) or (beyond_range(data) if suspect else None))
    elif simplejpeg is not None and colours and (pixels := _decoded(data, colours, least, blame)) is not None:
        if suspect:
            is_small = pixels.shape[0] * pixels.shape[1] <= _SMALL
            blame(beyond_range(data) if is_small and has_clipped_blocks(pixels) else None)
            suspect(colour_step(data, pixels) if factor == 1 else None)
        return pixels
    if factor > 1:
        image.draft(image.mode, least)
    if not is_asked and colours:
        image.load()
        blame(missing_end(image, data))
    return None


def _has_known_subsampling(data: bytes) -> bool:
    """Whether simplejpeg can be asked: not about four components of which some have fewer values."""
    try:
        simplejpeg.decode_jpeg_header(data, strict=False)
    except ValueError as error:
        return "subsampling" not in str(error)  # warnings about the header are raised, too
    return True


def _decoded(
    data: bytes, colours: str, least: tuple[int, int], blame: Callable[[str | None], None]
) -> NDArray[np.uint8] | None:  # four: a file, how it is decoded, and who takes its damage
    """Pixels by simplejpeg, H×W×3; None where it cannot decode the file."""
    decode = functools.partial(
        simplejpeg.decode_jpeg, data, colorspace=colours, min_width=least[0], min_height=least[1]
    )
    try:
        return _three_channels(decode(strict=True))
    except ValueError:  # damaged or unsupported
        blame(libjpeg_warning(data, colours))
    try:
        return _three_channels(decode(strict=False))
    except ValueError:
        return None


def _three_channels(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2) if pixels.shape[2] == 1 else pixels
