"""Images of unusual shape and kind, as files in memory, on which an exported file must agree with its classifier."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

_ORIENTATION = 0x0112  # EXIF 2.3
_SIDES = (240, 320)  # height and width of those that are unusual in their kind only


def odd_images() -> dict[str, bytes]:
    """Name → encoded image: a line of 40 pixels, a strip, grey, each EXIF orientation, transparent, 12 megapixels."""
    rng = np.random.default_rng(0)
    photo = Image.fromarray(_picture(rng, *_SIDES))
    images = {
        "1×40": _encoded(Image.fromarray(_picture(rng, 1, 40))),
        "700×3": _encoded(Image.fromarray(_picture(rng, 700, 3))),
        "grey": _encoded(photo.convert("L")),
        "transparent": _encoded(_transparent(photo)),
        "12 megapixels": _encoded(Image.fromarray(_picture(rng, 3000, 4000)), "JPEG"),
    }
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[_ORIENTATION] = orientation
        images[f"EXIF orientation {orientation}"] = _encoded(photo, "JPEG", exif=exif)
    return images


def _picture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """H×W×3 uint8: patches of colour with a fine pattern, so that channels, borders and aliasing make a difference."""
    patches = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    smooth = np.asarray(patches.resize((width, height), Image.Resampling.BICUBIC))
    y, x = np.ogrid[:height, :width]
    is_brighter = ((x + y) % 2 == 1)[..., None]
    picture: np.ndarray = np.where(is_brighter, np.minimum(smooth, 205) + 50, np.maximum(smooth, 50) - 50)
    return picture


def _transparent(image: Image.Image) -> Image.Image:
    layer = image.convert("RGBA")
    layer.putalpha(Image.linear_gradient("L").resize(image.size))
    return layer


def _encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()
