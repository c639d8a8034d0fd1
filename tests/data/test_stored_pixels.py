"""Zeros that break into stored pixels, and bytes that nothing refers to, are noticed; black areas are not."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from headstart.data.images import open_image
from headstart.data.stored_pixels import Stored, zero_run
from mutated_images import whole_file

_HEADERS = {"bmp": 54, "ppm": 14, "tiff": 140}


@pytest.mark.parametrize("format_", _HEADERS)
def test_a_file_that_goes_on_in_zeros_from_the_middle_of_a_row_is_suspect(format_: str) -> None:
    whole = whole_file(format_, 1)
    image = open_image(whole)
    row = 3 * image.width + (-3 * image.width % 4 if format_ == "bmp" else 0)
    place = _HEADERS[format_] + 30 * row + row // 2

    opened = open_image(whole[:place] + bytes(len(whole) - place))

    assert open_image(whole).suspicion is None
    assert "zeros from byte" in str(opened.suspicion)
    assert opened.damage is None


@pytest.mark.parametrize("format_", _HEADERS)
def test_a_block_of_zeros_between_pixels_is_suspect(format_: str) -> None:
    whole = whole_file(format_, 1)
    row = 3 * open_image(whole).width
    place = _HEADERS[format_] + 20 * row + row // 2
    size = 4 * row + row // 3 if format_ != "bmp" else 4 * row + 40

    damaged = whole[:place] + bytes(size) + whole[place + size :]

    assert "possibly damaged" in str(open_image(damaged).suspicion)


def _deep(kind: str, rows: int = 60, columns: int = 80) -> NDArray[np.generic]:
    """A picture of soft greys with grain in more than 8 bits; 12 of 16 where they are whole numbers."""
    y, x = np.mgrid[:rows, :columns]
    values = 2000 + 1500 * np.sin(x / 9 + y / 13) + np.random.default_rng(0).normal(0, 60, (rows, columns))
    return (values / 4096 if kind == "float32" else values.round()).clip(0).astype(kind)


@pytest.mark.parametrize("kind", ["uint16", "float32"])
@pytest.mark.parametrize("column", [20, 41, 60])
def test_deep_pixels_that_go_on_in_zeros_are_suspect(kind: str, column: int) -> None:
    pixels = _deep(kind)
    whole = _saved(Image.fromarray(pixels), "TIFF")
    place = whole.index(pixels.tobytes()) + (30 * 80 + column) * pixels.itemsize
    end = whole.index(pixels.tobytes()) + pixels.nbytes

    for odd in range(pixels.itemsize):  # a copy ends within a value, too
        opened = open_image(whole[: place + odd] + bytes(end - place - odd) + whole[end:])
        assert "zeros from byte" in str(opened.suspicion)
    assert open_image(whole).suspicion is None


@pytest.mark.parametrize("kind", ["uint16", "float32"])
def test_black_areas_and_classes_in_deep_pixels_are_pictures(kind: str) -> None:
    barred, tilted, stairs = _deep(kind), _deep(kind), np.zeros((60, 80), kind)
    barred[31:] = 0
    for row in range(60):
        tilted[row, 70 - row :] = 0
    stairs[:30], stairs[30, :40] = np.arange(80) % 7 + 1, 3  # numbers of classes
    for pixels in (barred, tilted, stairs):
        assert open_image(_saved(Image.fromarray(pixels), "TIFF")).suspicion is None


def test_black_areas_bars_and_tilted_edges_are_pictures() -> None:
    rng = np.random.default_rng(0)
    photo = rng.integers(60, 255, (80, 100, 3)).astype(np.uint8)
    barred = photo.copy()
    barred[50:] = 0
    tilted = Image.fromarray(photo).rotate(0.4)
    drawn = Image.new("RGB", (100, 80), "white")
    ImageDraw.Draw(drawn).polygon([(40, 30), (99, 30), (99, 79), (0, 79), (0, 31), (40, 31)], fill="black")
    shapes = [Image.fromarray(barred), tilted, drawn, Image.fromarray(photo).convert("1")]

    for image in shapes:
        for kind in ("BMP", "TIFF", "PPM"):
            assert open_image(_saved(image, kind)).suspicion is None, (image, kind)


def test_a_run_must_break_into_a_row_of_a_picture() -> None:
    """By hand: 10 rows of 40 bytes, zeros from the middle of row 5; and from its beginning, as a black bar has them."""
    rows = (100 + np.arange(400) % 97).astype(np.uint8)
    stored = Stored(0, 400, 40)

    assert zero_run(_zeroed(rows, 220), stored) == (220, 180)
    assert zero_run(_zeroed(rows, 200), stored) is None
    assert zero_run(rows.tobytes(), stored) is None


def test_bytes_behind_everything_in_a_tiff_are_suspect_unless_they_are_padding() -> None:
    whole = whole_file("tiff", 0)

    assert "nothing refers to" in str(open_image(whole + b"more than padding").suspicion)
    assert open_image(whole + bytes(40)).suspicion is None
    # writers of several pages leave the values of the last directory behind when it shares those of another
    assert open_image(whole + whole[-24:]).suspicion is None


def test_tiffs_with_several_directories_refer_to_all_their_bytes() -> None:
    exif = Image.Exif()
    exif[0x010E] = "a description, longer than four bytes"
    exif.get_ifd(0x8769)[0x9290] = "subseconds, in another directory"
    image = Image.fromarray(np.random.default_rng(1).integers(0, 255, (40, 50, 3)).astype(np.uint8))
    frames = io.BytesIO()
    image.save(frames, "TIFF", save_all=True, append_images=[image.rotate(90)] * 2, exif=exif)

    assert open_image(frames.getvalue()).suspicion is None


@pytest.mark.slow
def test_no_real_image_stored_as_it_is_is_suspect(test_data: Path) -> None:
    files = [path for path in sorted(test_data.rglob("*")) if path.suffix.lower() in (".jpg", ".jpeg", ".png")]
    for path in files[::8]:
        with Image.open(path) as image:
            rgb = image.convert("RGB")
        for kind in ("BMP", "TIFF"):
            assert open_image(_saved(rgb.rotate(1), kind)).suspicion is None, path


def _zeroed(values: NDArray[np.uint8], start: int) -> bytes:
    return values[:start].tobytes() + bytes(len(values) - start)


def _saved(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()
