"""The only file that opens images: bytes of any common kind become H×W×3 uint8 RGB, or a BadImage with its reason.

Decoding is always the same: the header is checked against the pixel bound before anything is decoded; the first frame
of an animation is used; the EXIF rotation is applied; transparency is blended with a stated colour; grey, palette, CMYK
and 16-bit images become 8-bit RGB (16 bit: value / 257, so that the format's white stays white). Colour profiles are
not applied. The file itself is only read.
"""

from __future__ import annotations

import functools
import io
import struct
import threading
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageColor, ImageFile

from headstart.errors import DataError, RecipeError

try:  # optional: the same pixels as Pillow's decoder, about a quarter faster
    import simplejpeg
except ImportError:
    simplejpeg = None

SUFFIXES: dict[str, tuple[str, ...]] = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".jif"),
    "MPO": (".jpg", ".jpeg", ".jpe", ".mpo"),  # what phones write for two pictures in one file
    "PNG": (".png", ".apng"),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "AVIF": (".avif",),
    "JPEG2000": (".jp2", ".j2k", ".jpx"),
    "ICO": (".ico",),
}
"""The formats that are opened, each with its file suffixes; nothing else is tried, whatever Pillow could do with it."""

MAX_FILE_BYTES = 2**30  # no photograph is larger; bounds what one read can take
_UPRIGHT = {  # EXIF orientation → what makes the picture upright (EXIF 2.3, tag 0x0112)
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PNG_CHECKED = (b"IHDR", b"PLTE", b"tRNS", b"IDAT")  # the chunks that decide the pixels
_ANIMATED = ("GIF", "WEBP", "PNG", "TIFF", "AVIF", "MPO")


class _Unbounded:
    """While a thread is inside, Pillow's own bound of pixels is off: it is global, and ours is checked before decoding.

    Threads are counted and do not wait for each other; the last one out restores the bound.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._bound: int | None = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._bound, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                Image.MAX_IMAGE_PIXELS = self._bound


_UNBOUNDED = _Unbounded()


class BadImage(DataError):
    """An image that cannot be used; the caller makes a Finding or a failed row of its reason."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(expected="an image that can be used", found=reason)

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True)
class ImageRules:
    """How images are read.

    Args:
        background: RGB, 0 to 255, behind transparent pixels.
        max_pixels: an image whose header states more is refused before it is decoded.
    """

    background: tuple[int, int, int] = (255, 255, 255)
    max_pixels: int = 210_000_000  # above the largest phone camera (201 million), 0.6 GB decoded

    @classmethod
    def named(cls, background: str, max_pixels: int) -> ImageRules:
        """Rules with the colour given as white, black, grey or #rrggbb.

        Raises:
            RecipeError: the colour is not known.
        """
        try:
            colour = ImageColor.getrgb(background)
            if not all(0 <= value <= 255 for value in colour):
                raise ValueError(background)
        except ValueError:
            raise RecipeError(
                expected="a colour such as white, black, grey or #ff8800", found=repr(background), where="--background"
            ) from None
        return cls((colour[0], colour[1], colour[2]), max_pixels)


@dataclass(frozen=True)
class OpenedImage:
    """A decoded image: `rgb` is H×W×3 uint8; format and mode are the file's own, notes say what was done to it."""

    rgb: NDArray[np.uint8]
    format: str
    mode: str
    notes: tuple[str, ...]

    @property
    def width(self) -> int:
        """Pixels from left to right, after the EXIF rotation."""
        return int(self.rgb.shape[1])

    @property
    def height(self) -> int:
        """Pixels from top to bottom, after the EXIF rotation."""
        return int(self.rgb.shape[0])


def read_bytes(path: Path) -> bytes:
    """The file's bytes, bounded.

    Raises:
        BadImage: the file is missing, unreadable, empty or larger than 1 GB.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: NUL in a name
        raise BadImage(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not data:
        raise BadImage("the file is empty (0 bytes)")
    if len(data) > MAX_FILE_BYTES:
        raise BadImage("the file is larger than 1 GB")
    return data


def open_image(source: str | Path | bytes, rules: ImageRules | None = None) -> OpenedImage:
    """Decode one image to RGB.

    Args:
        source: a path, or the bytes of a file.
        rules: background colour and pixel bound; the defaults of ImageRules when left out.

    Raises:
        BadImage: with the reason as a short text for people.
    """
    rules = ImageRules() if rules is None else rules
    if not isinstance(rules, ImageRules):
        raise RecipeError(expected="ImageRules or None", found=type(rules).__name__, where="open_image")
    if not isinstance(source, bytes):
        source = as_path(source)
    data = source if isinstance(source, bytes) else read_bytes(source)
    if not data:
        raise BadImage("the file is empty (0 bytes)")
    image = _open_header(data, rules)
    notes = [] if isinstance(source, bytes) else list(suffix_notes(source, str(image.format)))
    try:
        rgb = _decode(image, data, rules, notes=notes)
    except BadImage:
        raise
    except Exception as error:  # decoders raise anything on hostile bytes; the reason becomes a Finding
        raise BadImage(_reason(error)) from error
    return OpenedImage(rgb, str(image.format), image.mode, tuple(notes))


def as_path(source: object) -> Path:
    """The path of an image file, as a user named it.

    Raises:
        DataError: it is neither a path nor a text.
    """
    if isinstance(source, Path):
        return source
    if isinstance(source, str):
        return Path(source)
    raise DataError(
        expected="an image: a path, or the bytes of a file",
        found=f"{type(source).__name__}",
        where="source",
        hint="Save the picture into a file, or give its encoded bytes.",
    )


def suffix_notes(path: Path, format: str) -> tuple[str, ...]:
    """A note on a file whose suffix names another format than its content; empty when they agree."""
    suffix = path.suffix.lower()
    if suffix in SUFFIXES.get(format, ()):
        return ()
    return (f"named {suffix or 'without suffix'}, but the content is {format}",)


def _open_header(data: bytes, rules: ImageRules) -> ImageFile.ImageFile:
    try:
        with _UNBOUNDED:
            image = Image.open(io.BytesIO(data), formats=_formats())
    except Exception as error:
        raise BadImage(_reason(error)) from error
    pixels = image.width * image.height
    if pixels > rules.max_pixels:
        raise BadImage(
            f"{image.width}×{image.height} pixels are more than the bound of {rules.max_pixels:,} (--max-pixels)"
        )
    return image


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those of SUFFIXES that this Pillow opens; MPO is opened as JPEG, older versions cannot open AVIF."""
    Image.init()
    return tuple(format for format in SUFFIXES if format in Image.OPEN)


def _decode(image: ImageFile.ImageFile, data: bytes, rules: ImageRules, *, notes: list[str]) -> NDArray[np.uint8]:
    if image.format == "PNG":
        _check_png(data)
        image.load()  # `getexif` decodes a PNG: an error in its pixels must not be reported as one of its EXIF data
    orientation = _exif_orientation(image, notes)
    if image.format == "JPEG" and image.mode == "RGB" and orientation not in _UPRIGHT:
        return _decode_plain_jpeg(image, data)
    frames = getattr(image, "n_frames", 1) if image.format in _ANIMATED else 1
    if frames > 1:
        image.seek(0)
        notes.append(f"first of {frames} frames")
    upright: Image.Image = image
    if image.format == "TIFF":
        with _UNBOUNDED:  # here Pillow checks its bound a second time
            image.load()  # and makes the picture upright, as for no other format
    else:
        image.load()
        upright = image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image
    if orientation in _UPRIGHT:
        notes.append(f"rotated as its EXIF tag says ({orientation})")
    return np.ascontiguousarray(_to_rgb(upright, rules, notes))


def _check_png(data: bytes) -> None:
    """Raise BadImage when a chunk of pixels fails its checksum or the end is missing: Pillow checks neither.

    Source: PNG specification, third edition, 5.3 (chunk layout) and 5.5 (CRC).
    """
    view, position = memoryview(data), 8
    while position + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        if name == b"IEND":
            return
        if not name.isalpha() or end + 4 > len(data):
            break
        if name in _PNG_CHECKED and zlib.crc32(view[position + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            raise BadImage(f"damaged (the checksum of its {name.decode()} chunk at byte {position:,} is wrong)")
        position = end + 4
    raise BadImage(f"truncated or damaged (no valid PNG chunk at byte {position:,}, before the end of the image)")


def _exif_orientation(image: ImageFile.ImageFile, notes: list[str]) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # cameras and editors write broken tags into intact pictures
        notes.append("its EXIF data is damaged and was ignored")
        return 1


def _decode_plain_jpeg(image: ImageFile.ImageFile, data: bytes) -> NDArray[np.uint8]:
    if simplejpeg is not None:
        try:
            return np.asarray(simplejpeg.decode_jpeg(data, colorspace="RGB", strict=True), dtype=np.uint8)
        except ValueError:
            pass  # damaged or unsupported: Pillow decides, so that both installations give the same answer
    return np.ascontiguousarray(np.asarray(image, dtype=np.uint8))


def _to_rgb(image: Image.Image, rules: ImageRules, notes: list[str]) -> NDArray[np.uint8]:
    if image.mode.startswith("I") or image.mode == "F":
        return _deep_to_rgb(image, notes)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        if np.asarray(layer.getchannel("A")).min() < 255:
            notes.append("transparency blended with the background")
        page = Image.new("RGBA", layer.size, (*rules.background, 255))
        image = Image.alpha_composite(page, layer)
    return np.asarray(image.convert("RGB"), dtype=np.uint8)


def _deep_to_rgb(image: Image.Image, notes: list[str]) -> NDArray[np.uint8]:
    values = np.asarray(image, dtype=np.float64)
    if not np.isfinite(values).all():
        raise BadImage("its values are not all finite numbers")
    low, high = float(values.min()), float(values.max())
    if image.mode != "F" and low >= 0 and high <= 65535:
        grey = values / 257  # 65535 → 255: a fixed scale, so that images stay comparable
        notes.append(f"16 bit, brightest value {high:.0f} of 65535")
    elif image.mode == "F" and low >= 0 and high <= 1:
        grey = values * 255
    else:
        grey = (values - low) * (255 / max(high - low, 1e-12))
        notes.append(f"values {low:g} to {high:g} scaled to 0…255")
    grey8 = grey.round().astype(np.uint8)
    return np.repeat(grey8[:, :, None], 3, axis=2)


def _reason(error: Exception) -> str:
    text = str(error)
    if "cannot identify image file" in text:
        return f"not an image of a known format ({', '.join(SUFFIXES)})"
    if "truncated" in text or isinstance(error, (EOFError, SyntaxError)):
        return f"truncated or damaged ({text or type(error).__name__})"
    if isinstance(error, MemoryError):
        return "not enough memory to decode it"
    return f"cannot be decoded ({text or type(error).__name__})"
