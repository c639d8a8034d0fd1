"""The only file that opens images: bytes of any common kind become H×W×3 uint8 RGB, or a BadImage with its reason.

Decoding is always the same: the header is checked against the bounds of pixels and memory before anything is decoded;
a file whose structure or decoder speaks of damage is refused, or used and said to be damaged; the first frame of an
animation is used; the EXIF rotation is applied; transparency is blended with a stated colour; grey, palette, CMYK and
16-bit images become 8-bit RGB (16 bit: value / 257, so that the format's white stays white). Images of more than 32
million pixels are reduced to a half, a quarter or an eighth of their sides, so that one takes at most 1 GB of memory,
and those that many threads decode at once no more together. Colour profiles are not applied. Files are only read.
"""

from __future__ import annotations

import functools
import io
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageColor, ImageFile

from headstart.data import deep_pixels, heif, netpbm, tiff_pages
from headstart.data.deep_colours import eight_bit_colours
from headstart.data.image_damage import find_damage, reason_of, reason_of_unknown
from headstart.data.image_memory import MOST_BYTES, MemoryBudget, bytes_needed, reduction
from headstart.data.jpeg_pixels import decode_jpeg
from headstart.data.palettes import missing_colours, put_eight_bit_colours
from headstart.data.stored_pixels import LAYOUTS, suspicion
from headstart.data.tiff_layout import misread_tiff
from headstart.data.transparent_colour import scale_transparent_colour, transparent_value
from headstart.data.unused_data import unused_data
from headstart.errors import DataError, RecipeError

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
    heif.FORMAT: (".heic", ".heif", ".hif"),
    "JPEG2000": (".jp2", ".j2k", ".jpx"),
    "ICO": (".ico",),
}
"""The formats that are opened, each with its file suffixes; nothing else is tried, whatever Pillow could do with it."""

MAX_FILE_BYTES = 2**30  # no photograph is larger; bounds what one read can take
_UPRIGHT: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    # EXIF orientation → what makes H×W×3 pixels upright (EXIF 2.3, tag 0x0112)
    2: lambda rgb: rgb[:, ::-1],
    3: lambda rgb: rgb[::-1, ::-1],
    4: lambda rgb: rgb[::-1],
    5: lambda rgb: rgb.swapaxes(0, 1),
    6: lambda rgb: rgb[::-1].swapaxes(0, 1),
    7: lambda rgb: rgb[::-1, ::-1].swapaxes(0, 1),
    8: lambda rgb: rgb[:, ::-1].swapaxes(0, 1),
}
_BLENDED = "transparency blended with the background"
_MEMORY = MemoryBudget(MOST_BYTES)
_ANIMATED = ("GIF", "WEBP", "PNG", "AVIF", "MPO")


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


class _Tolerant:
    """While a thread is inside, Pillow gives it what it could decode of a broken file, and other threads an error.

    Pillow's flag for that is global; this object takes its place and answers for each thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before: object = False
        self._thread = threading.local()

    def __bool__(self) -> bool:
        return getattr(self._thread, "inside", False) or bool(self._before)

    def __enter__(self) -> None:
        self._thread.inside = True
        with self._lock:
            if not self._inside:
                self._before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, self  # type: ignore[assignment]
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        self._thread.inside = False
        with self._lock:
            self._inside -= 1
            if not self._inside:
                ImageFile.LOAD_TRUNCATED_IMAGES = self._before  # type: ignore[assignment]


_UNBOUNDED = _Unbounded()
_TOLERANT = _Tolerant()


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
        keep_damaged: use what can be decoded of a damaged image instead of refusing it; its `damage` says why.
        bit_depth: of the values in 16-bit files, 8 to 16: 2^bit_depth − 1 becomes white.
        checked: these very bytes were opened before; damage that only a second decoding shows is not looked for again.
    """

    background: tuple[int, int, int] = (255, 255, 255)
    max_pixels: int = 210_000_000  # above the largest phone camera (201 million)
    keep_damaged: bool = False
    bit_depth: int = 16
    checked: bool = False

    @classmethod
    def named(cls, background: str, max_pixels: int, *, keep_damaged: bool = False, bit_depth: int = 16) -> ImageRules:
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
                expected="a colour such as white, black, grey or #ff8800",
                found=repr(background),
                where="--background",
                hint="Use a name or six digits behind #.",
            ) from None
        return cls((colour[0], colour[1], colour[2]), max_pixels, keep_damaged=keep_damaged, bit_depth=bit_depth)


@dataclass(frozen=True)
class OpenedImage:
    """A decoded image: `rgb` is H×W×3 uint8; format and mode are the file's own, notes say what was done to it.

    Args:
        damage: why the file cannot be whole, for an image that is used in spite of it; None for a whole one.
        brightest: largest value of an image of 16 bits, 0 to 65535; 0 for others.
        suspicion: why the file is probably damaged, where nobody can know; None for others.
    """

    rgb: NDArray[np.uint8]
    format: str
    mode: str
    notes: tuple[str, ...]
    damage: str | None = None
    brightest: int = 0
    suspicion: str | None = None

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
        BadImage: the file is missing, a pipe, unreadable, empty or larger than 1 GB.
    """
    try:
        if not (path.is_file() or path.is_dir()) and path.exists():  # a pipe would be waited for without an end
            raise BadImage("cannot be read: a pipe or a device, not a file")
        if path.is_file() and not path.stat().st_size:  # the kernel's, too, of which /proc/kmsg is waited for
            raise BadImage("the file is empty (0 bytes)")
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: NUL in a name
        raise BadImage(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > MAX_FILE_BYTES:
        raise BadImage("the file is larger than 1 GB")
    return data


def open_image(source: str | Path | bytes, rules: ImageRules | None = None) -> OpenedImage:
    """Decode one image to RGB.

    Args:
        source: a path, or the bytes of a file.
        rules: background colour and bounds; the defaults of ImageRules when left out.

    Raises:
        BadImage: with the reason as a short text for people.
    """
    rules = ImageRules() if rules is None else rules
    if not isinstance(rules, ImageRules):
        raise RecipeError(
            expected="ImageRules or None",
            found=type(rules).__name__,
            where="open_image",
            hint="Leave it out for the usual rules.",
        )
    if not isinstance(source, bytes):
        source = as_path(source)
    data = source if isinstance(source, bytes) else read_bytes(source)
    if not data:
        raise BadImage("the file is empty (0 bytes)")
    reading = _Reading(data, rules)
    image = reading.open()
    if not isinstance(source, bytes):
        reading.notes += suffix_notes(source, str(image.format))
    format_, mode = str(image.format), image.mode  # decoding at reduced size may change the mode
    needed = bytes_needed(image, len(data) * (2 if reading.pages and reading.pages.main else 1))
    if needed > MOST_BYTES:
        raise BadImage(
            f"{image.width}×{image.height} pixels of {format_} need {needed / 1e9:.1f} GB of memory to decode, more "
            f"than the bound of {MOST_BYTES / 1e9:.0f} GB; save it smaller"
        )
    with _MEMORY.reserved(needed):
        rgb = reading.decode(image)
    return OpenedImage(
        rgb,
        format_,
        mode,
        tuple(reading.notes),
        damage=reading.damage,
        brightest=reading.brightest,
        suspicion=suspicion(image, data) if format_ in LAYOUTS else next(iter(reading.suspicions), None),
    )


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


class _Reading:
    """One file while it is read: what is done to it, and what speaks of damage."""

    def __init__(self, data: bytes, rules: ImageRules) -> None:
        self.data = data
        self.rules = rules
        self.notes: list[str] = []
        self.damage: str | None = None
        self.suspicions: list[str | None] = []
        self.brightest = 0
        self.pages: tiff_pages.Pages | None = None  # of a TIFF
        self.other: str | None = None  # where 16-bit colours have their lower bytes; Pillow forgets it in decoding

    def open(self) -> ImageFile.ImageFile:
        """The image with its header read, within the bound of pixels."""
        if self.data.startswith(tiff_pages.MARKS):
            self._take_main_page()
        try:
            image = self._header()
        except Exception as error:
            reason = reason_of_unknown(self.data, error) or reason_of(error, SUFFIXES)
            if not self.rules.keep_damaged:
                raise BadImage(reason) from error
            try:
                with _TOLERANT:
                    image = self._header()
            except Exception:
                raise BadImage(reason) from error
            self.damage = reason
        said = misread_tiff(self.data) if image.format == "TIFF" else None
        if said:  # also where damaged images are used: these are whole, and their pixels would be wrong
            raise BadImage(said)
        pixels = image.width * image.height
        if pixels > self.rules.max_pixels:
            bound = f"{image.width}×{image.height} pixels are more than the bound of {self.rules.max_pixels:,}"
            raise BadImage(f"{bound} (--max-pixels)")
        return image

    def _take_main_page(self) -> None:
        """Of a TIFF the first page that is no thumbnail and no mask."""
        self.pages = pages = tiff_pages.read_pages(self.data)
        if pages.main:
            before = (
                "reduced copies or masks, as they say" if pages.main > 1 else "a reduced copy or a mask, as it says"
            )
            self.notes.append(f"page {pages.main + 1} of {len(pages.places)}; before it: {before}")
            self.data = tiff_pages.with_first(self.data, pages.places[pages.main])
        elif pages.is_copy:
            self.notes.append("a reduced copy or a mask, as it says of itself; the file has no other page")
        if pages.is_broken:
            self.blame(f"damaged (its page {len(pages.places)} refers to a next one that is not in the file)")

    def _header(self) -> ImageFile.ImageFile:
        is_heif = self.data[4:8] == b"ftyp" and heif.is_heif(self.data) and heif.can_open()
        with _UNBOUNDED:
            return Image.open(io.BytesIO(self.data), formats=(heif.FORMAT,) if is_heif else _formats())

    def blame(self, reason: str | None) -> None:
        """Refuse the image for this reason, or remember it where damaged images are used."""
        if reason is None:
            return
        if not self.rules.keep_damaged:
            raise BadImage(reason)
        self.damage = self.damage or reason

    def decode(self, image: ImageFile.ImageFile) -> NDArray[np.uint8]:
        """H×W×3 pixels of an opened image; what can be had of a damaged one where the rules say so."""
        self.blame(find_damage(image, self.data, checked=self.rules.checked))
        kept = list(self.notes)
        try:
            return _decode(image, self)
        except BadImage:
            raise
        except Exception as error:  # decoders raise anything on hostile bytes; the reason becomes a Finding
            if not self.rules.keep_damaged or isinstance(error, MemoryError):
                raise BadImage(reason_of(error, SUFFIXES)) from error
            self.blame(reason_of(error, SUFFIXES))
        self.notes = kept
        try:
            with _TOLERANT:
                return _decode(self._header(), self)
        except Exception as error:
            raise BadImage(self.damage or reason_of(error, SUFFIXES)) from error


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those of SUFFIXES that this Pillow opens itself; MPO is opened as JPEG, older versions cannot open AVIF."""
    Image.init()
    return tuple(format for format in SUFFIXES if format in Image.OPEN and format != heif.FORMAT)


def _decode(image: ImageFile.ImageFile, reading: _Reading) -> NDArray[np.uint8]:
    reading.other = netpbm.other_bytes(image, reading.data) if image.format == "PPM" else deep_pixels.other_bytes(image)
    if image.format == "PNG":
        image.load()  # `getexif` decodes a PNG: an error in its pixels must not be reported as one of its EXIF data
    notes = reading.notes
    orientation = _exif_orientation(image, notes)
    animated = getattr(image, "n_frames", 1) if image.format in _ANIMATED else 1
    frames = len(reading.pages.places) if reading.pages else animated
    if frames > 1:
        image.seek(0)
    if frames > 1 and not (reading.pages and reading.pages.main):
        notes.append(f"first of {frames} frames")
    factor = reduction(image.width * image.height)
    if factor > 1:
        notes.append(f"reduced to 1/{factor} of its sides ({image.width}×{image.height} pixels)")
    rgb = None
    if image.format in ("JPEG", "MPO"):
        suspect = None if reading.rules.checked else reading.suspicions.append
        rgb = decode_jpeg(image, reading.data, factor, blame=reading.blame, suspect=suspect)
    if rgb is None:
        rgb = _decode_with_pillow(image, reading, factor)
    if orientation in _UPRIGHT:
        notes.append(f"rotated as its EXIF tag says ({orientation})")
        if image.format != "TIFF":  # Pillow makes these upright while it decodes, as no other format
            rgb = _UPRIGHT[orientation](rgb)
    return np.ascontiguousarray(rgb)


def _exif_orientation(image: ImageFile.ImageFile, notes: list[str]) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # cameras and editors write broken tags into intact pictures
        notes.append("its EXIF data is damaged and was ignored")
        return 1


def _decode_with_pillow(image: ImageFile.ImageFile, reading: _Reading, factor: int) -> NDArray[np.uint8]:
    if image.format == "TIFF":
        with _UNBOUNDED:  # here Pillow checks its bound a second time
            image.load()  # and makes the picture upright, as for no other format
    else:
        image.load()
    if image.format == "PNG" and "transparency" in image.info:
        reading.notes += scale_transparent_colour(image, reading.data)
    if image.mode == "P":
        reading.notes += put_eight_bit_colours(image)
        reading.blame(missing_colours(image))
    if image.format in ("WEBP", "AVIF", heif.FORMAT) and not reading.rules.checked:
        reading.blame(unused_data(image, reading.data))
    if image.format in ("JPEG", "MPO"):
        factor = 1  # reduced already
    decoded: Image.Image = image if reading.other is None else _with_deep_colours(image, reading, reading.other)
    convert = _converter(decoded, reading)
    parts = [_reduced(convert(band), factor) for band in deep_pixels.bands(decoded, rows=factor)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _reduced(rgb: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Averages of factor × factor pixels."""
    return rgb if factor == 1 else np.asarray(Image.fromarray(rgb).reduce(factor))


def _converter(image: Image.Image, reading: _Reading) -> Callable[[Image.Image], NDArray[np.uint8]]:
    """A function from a band of the image to its RGB pixels."""
    if deep_pixels.is_deep(image.mode):
        return _deep_converter(image, reading)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return functools.partial(_blended, reading=reading)
    return lambda band: np.asarray(band.convert("RGB"), dtype=np.uint8)


def _blended(band: Image.Image, reading: _Reading) -> NDArray[np.uint8]:
    layer = (band.convert("LA") if band.mode == "La" else band).convert("RGBA")  # Pillow has no direct way
    if _BLENDED not in reading.notes and np.asarray(layer.getchannel("A")).min() < 255:
        reading.notes.append(_BLENDED)
    page = Image.new("RGBA", layer.size, (*reading.rules.background, 255))
    return np.asarray(Image.alpha_composite(page, layer).convert("RGB"), dtype=np.uint8)


def _deep_converter(image: Image.Image, reading: _Reading) -> Callable[[Image.Image], NDArray[np.uint8]]:
    is_stated = image.format == "PPM" and 0 < netpbm.stated_white(reading.data) < netpbm.WHITE  # Pillow scales by it
    scale = deep_pixels.grey_scale(image, 16 if is_stated else reading.rules.bit_depth)
    if scale is None:
        raise BadImage("its values are not all finite numbers")
    reading.brightest = scale.brightest
    if scale.note:
        reading.notes.append(scale.note)
    transparent = transparent_value(image) if "transparency" in image.info else None

    def convert(band: Image.Image) -> NDArray[np.uint8]:
        values = deep_pixels.values_of(image, band)
        rgb = np.repeat(deep_pixels.to_grey(values, scale)[:, :, None], 3, axis=2)
        if transparent is not None and (values == transparent).any():
            rgb[values == transparent] = reading.rules.background
            if _BLENDED not in reading.notes:
                reading.notes.append(_BLENDED)
        return rgb

    return convert


def _with_deep_colours(image: ImageFile.ImageFile, reading: _Reading, other: str) -> Image.Image:
    """An image of 16-bit colours, of which Pillow kept the upper byte, with 8 bits on the scale of the rules."""
    depth = reading.rules.bit_depth
    found = eight_bit_colours(image, reading.data, other, bit_depth=depth)
    if found is None:
        raise BadImage(f"its 16-bit colours cannot be read as {depth} bit (--bit-depth)")
    reading.brightest = found.brightest
    reading.notes += found.notes
    return found.image
