"""A seeded corpus of damaged image files: every format, cut, zeroed, changed, shortened, doubled, or with another size.

Each comes with the whole file it was made of, so that a test can tell whether damage shows.
"""

from __future__ import annotations

import functools
import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Rng = np.random.Generator

FORMATS: dict[str, tuple[str, dict[str, object]]] = {
    "jpeg": ("JPEG", {"quality": 88}),
    "jpeg444": ("JPEG", {"quality": 95, "subsampling": 0}),
    "jpeg-grey": ("JPEG", {"quality": 88}),
    "jpeg-cmyk": ("JPEG", {"quality": 88}),
    "jpeg-turned": ("JPEG", {"quality": 88}),
    "progressive": ("JPEG", {"quality": 88, "progressive": True}),
    "png": ("PNG", {}),
    "png-palette": ("PNG", {}),
    "png-alpha": ("PNG", {}),
    "gif": ("GIF", {}),
    "bmp": ("BMP", {}),
    "webp": ("WEBP", {"quality": 85}),
    "webp-lossless": ("WEBP", {"lossless": True}),
    "tiff": ("TIFF", {}),
    "tiff-lzw": ("TIFF", {"compression": "tiff_lzw"}),
    "tiff-deflate": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    "tiff-jpeg": ("TIFF", {"compression": "jpeg"}),
    "ppm": ("PPM", {}),
    "ico": ("ICO", {"sizes": [(48, 48)]}),
    "jpeg2000": ("JPEG2000", {}),
    "avif": ("AVIF", {}),
}
KINDS = ("cut", "cut-but-ended", "zeros", "zero-tail", "byte", "bytes", "removed", "doubled", "size")


@dataclass(frozen=True)
class Mutation:
    """One damaged file: what it was made of and how."""

    number: int
    format: str
    kind: str
    whole: bytes
    damaged: bytes

    @property
    def name(self) -> str:
        return f"{self.number:04d}-{self.format}-{self.kind}"


def mutations(count: int, seed: int) -> Iterator[Mutation]:
    """So many damaged files; the same seed gives the same."""
    rng = np.random.default_rng(seed)
    formats = list(FORMATS)
    for number in range(count):
        format_ = formats[number % len(formats)]
        kind = KINDS[int(rng.integers(len(KINDS)))]
        whole = whole_file(format_, int(rng.integers(4)))
        damaged = _with_size(whole, rng) if kind == "size" else None
        if damaged is None:
            kind = "byte" if kind == "size" else kind
            damaged = _mutate(whole, kind, rng)
        yield Mutation(number, format_, kind, whole, damaged)


@functools.cache
def whole_file(format_: str, variant: int) -> bytes:
    """A picture of smooth colours with texture, 60 to 130 pixels a side."""
    kind, options = FORMATS[format_]
    image = Image.fromarray(_picture(variant))
    if format_ == "jpeg-grey":
        image = image.convert("L")
    if format_ == "jpeg-cmyk":
        image = image.convert("CMYK")
    if format_ == "ico":
        image = image.resize((48, 48))
    if format_ == "png-palette":
        image = image.quantize(64)
    if format_ == "png-alpha":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    if format_ == "jpeg-turned":
        exif = Image.Exif()
        exif[0x0112] = 6
        options = {**options, "exif": exif}
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _picture(variant: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(variant)
    height, width = (int(side) for side in rng.integers(60, 130, 2))
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / rng.uniform(4, 30) + y / rng.uniform(4, 30) + rng.uniform(0, 6)) for _ in range(3)]
    values = 128 + 90 * np.stack(waves, axis=-1) + rng.normal(0, 8, (height, width, 3))
    return values.clip(0, 255).astype(np.uint8)


def _mutate(whole: bytes, kind: str, rng: Rng) -> bytes:
    size = len(whole)
    place, width = int(rng.integers(size // 4, size - 30)), int(rng.choice([16, 128, 600]))
    if kind == "cut":
        return whole[: int(rng.integers(1, size))]
    if kind == "cut-but-ended":
        return whole[:place] + whole[-2:]
    if kind == "zeros":
        return whole[:place] + bytes(min(width, size - place)) + whole[place + width :]
    if kind == "zero-tail":
        return whole[:place] + bytes(size - place)
    if kind == "removed":
        return whole[:place] + whole[place + width :]
    if kind == "doubled":
        return whole[: place + width] + whole[place:]
    changed = bytearray(whole)
    for _ in range(1 if kind == "byte" else int(rng.integers(2, 30))):
        changed[int(rng.integers(size))] = int(rng.integers(256))
    return bytes(changed)


def _with_size(whole: bytes, rng: Rng) -> bytes | None:
    """The file with another width and height in its header, where these are two plain numbers."""
    width, height = (int(rng.choice([side, 3 * side, 1400, side + 9, side // 2])) for side in _size(whole))
    for start in (b"\xff\xc0\x00", b"\xff\xc2\x00"):
        place = whole.find(start)
        if whole[:2] == b"\xff\xd8" and place > 0:
            return whole[: place + 5] + struct.pack(">HH", height, width) + whole[place + 9 :]
    if whole[:3] == b"GIF":
        return whole[:6] + struct.pack("<HH", width, height) + whole[10:]
    if whole[:2] == b"BM":
        return whole[:18] + struct.pack("<ii", width, height) + whole[26:]
    if whole[:2] == b"P6":
        return b"P6\n%d %d\n255\n" % (width, height) + whole[whole.index(b"255\n") + 4 :]
    if whole[12:16] == b"VP8 ":
        return whole[:26] + struct.pack("<HH", width, height) + whole[30:]
    return None


def _size(whole: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(whole)).size
