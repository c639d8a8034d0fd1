"""What a JPEG file says about how it was made: quantisation tables, camera and time; read without decoding a pixel.

In: a path. Out: JpegHeader, empty for other files and for headers that make no sense.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from PIL import ExifTags, Image

_MOST = 1 << 18  # bytes: the headers of a photograph, its thumbnail included, are below 128 kB
_START, _QUANTISATION, _EXIF, _SCAN = 0xD8, 0xDB, 0xE1, 0xDA


@dataclass(frozen=True)
class JpegHeader:
    """The header of one file.

    Args:
        quantisation: mean of each quantisation table, in the order of the file: low for high quality.
        camera: maker and model, as EXIF says; else empty.
        taken: seconds since 1970 by the camera's clock (its time zone is unknown); None where EXIF does not say.
    """

    quantisation: tuple[float, ...] = ()
    camera: str = ""
    taken: float | None = None


def read_jpeg_header(path: Path) -> JpegHeader:
    """Walk over the segments before the first scan; never fails."""
    try:
        with path.open("rb") as file:
            data = file.read(_MOST)
    except OSError:  # it could be read a moment ago; whoever decodes it says why
        return JpegHeader()
    if data[:2] != bytes((0xFF, _START)):
        return JpegHeader()
    tables: list[float] = []
    camera, taken = "", None
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != _SCAN:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : at + 2 + length]
        if marker == _QUANTISATION:
            tables += _means(body)
        elif marker == _EXIF and body[:6] == b"Exif\0\0":
            camera, taken = _exif(body)
        at += 2 + max(length, 2)
    return JpegHeader(tuple(tables), camera, taken)


def _means(body: bytes) -> list[float]:
    """Means of the tables in a DQT segment: 64 values each, of 8 or 16 bits."""
    means, at = [], 0
    while at < len(body):
        size = 2 if body[at] >> 4 else 1
        values = body[at + 1 : at + 1 + 64 * size]
        if len(values) < 64 * size:
            break
        means.append(sum(int.from_bytes(values[i : i + size], "big") for i in range(0, 64 * size, size)) / 64)
        at += 1 + 64 * size
    return means


def _exif(body: bytes) -> tuple[str, float | None]:
    """Camera and time of an EXIF segment; empty where it is damaged."""
    try:
        exif = Image.Exif()
        exif.load(body)
        maker, model = (str(exif.get(tag) or "").strip("\0 ") for tag in (ExifTags.Base.Make, ExifTags.Base.Model))
        inner = exif.get_ifd(ExifTags.IFD.Exif)
        text = inner.get(ExifTags.Base.DateTimeOriginal) or exif.get(ExifTags.Base.DateTime)
    except Exception:  # cameras and editors write broken tags into intact pictures
        return "", None
    return f"{maker} {model}".strip(), _seconds(text)


def _seconds(text: object) -> float | None:
    try:
        when = datetime.datetime.strptime(str(text).strip("\0 "), "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return None
    return when.replace(tzinfo=datetime.UTC).timestamp()
