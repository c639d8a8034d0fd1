"""Headers of JPEG files: tables, camera and time as Pillow wrote them; nonsense gives an empty header."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from headstart.data.jpeg_header import JpegHeader, read_jpeg_header


def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8))


def test_tables_camera_and_time_are_read(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Model] = "Maker", "Model 3"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2024:05:06 07:08:09"
    picture().save(tmp_path / "a.jpg", quality=80, exif=exif)
    found = read_jpeg_header(tmp_path / "a.jpg")
    assert found.camera == "Maker Model 3"
    assert found.taken == datetime.datetime(2024, 5, 6, 7, 8, 9, tzinfo=datetime.UTC).timestamp()
    with Image.open(tmp_path / "a.jpg") as image:
        tables = image.quantization  # type: ignore[attr-defined]
    np.testing.assert_allclose(found.quantisation, [np.mean(table) for table in tables.values()])


def test_a_coarser_file_has_larger_tables(tmp_path: Path) -> None:
    for quality in (40, 95):
        picture().save(tmp_path / f"{quality}.jpg", quality=quality)
    coarse, fine = (read_jpeg_header(tmp_path / f"{quality}.jpg").quantisation for quality in (40, 95))
    assert coarse[0] > 5 * fine[0]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8",
        b"\xff\xd8\xff\xdb",
        b"\xff\xd8\xff\xdb\x00\x00\xff\xdb\x00\x01",
        b"\xff\xd8\xff\xe1\x00\x10Exif\0\0nonsense",
        b"\x89PNG\r\n\x1a\n",
    ],
)
def test_nonsense_gives_an_empty_header(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.jpg").write_bytes(data)
    assert read_jpeg_header(tmp_path / "x.jpg") == JpegHeader()


def test_every_cut_of_a_file_is_read_without_an_error(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Model] = "Model"
    picture().save(tmp_path / "a.jpg", exif=exif)
    data = (tmp_path / "a.jpg").read_bytes()
    for length in range(0, 700, 7):
        (tmp_path / "cut.jpg").write_bytes(data[:length])
        assert read_jpeg_header(tmp_path / "cut.jpg").camera in ("", "Model")
    assert read_jpeg_header(tmp_path / "none.jpg") == JpegHeader()
