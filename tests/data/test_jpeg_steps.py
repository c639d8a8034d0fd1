"""A step along the blocks of a JPEG is found, and edges, bands and enlarged pixels are not called one."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from headstart.data.images import BadImage, open_image
from headstart.data.jpeg_steps import colour_step


def _photo(seed: int = 0) -> NDArray[np.uint8]:
    """Soft colours with grain, 200 × 304."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(60, 180, (13, 19, 3)).astype(np.uint8)).resize((304, 200), 3)
    return (np.asarray(coarse) + rng.normal(0, 6, (200, 304, 3))).clip(0, 255).astype(np.uint8)


def _jpeg(pixels: NDArray[np.uint8], **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def _shifted(pixels: NDArray[np.uint8], unit: int, row: int, column: int, by: int) -> NDArray[np.uint8]:
    """As a decoder adds a wrong difference to every block from one on."""
    changed = pixels.astype(int)
    changed[row * unit : (row + 1) * unit, column * unit :] += by
    changed[(row + 1) * unit :] += by
    return changed.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(("subsampling", "unit"), [(0, 8), (2, 16)])
@pytest.mark.parametrize("by", [-40, 30, 60])
def test_a_shift_from_one_block_on_is_found_at_its_row(subsampling: int, unit: int, by: int) -> None:
    data, pixels = _jpeg(_photo(), subsampling=subsampling, quality=90), _photo()

    assert colour_step(data, pixels) is None
    for row, column in ((2, 5), (5, 9), (7, 12)):
        said = colour_step(data, _shifted(pixels, unit, row, column, by))
        assert said == f"possibly damaged (from row {row * unit} on its colours are shifted by one amount)"


def test_bands_and_boxes_on_the_grid_are_none() -> None:
    pixels = _photo()
    data = _jpeg(pixels, subsampling=0)
    band, box, steps = (pixels.astype(int) for _ in range(3))
    band[80:] += 40
    box[80:, 120:] += 40
    for row in range(8, 200, 16):
        steps[row:] += 4
        steps[row : row + 8, 152:] += 4

    for whole in (band, box, steps):
        assert colour_step(data, whole.clip(0, 255).astype(np.uint8)) is None


@pytest.mark.parametrize("side", [8, 16])
def test_enlarged_pixels_and_soft_edges_are_none(side: int) -> None:
    stairs = np.full((240 // side, 320 // side, 3), 90, np.uint8)
    stairs += np.random.default_rng(1).integers(0, 30, stairs.shape).astype(np.uint8)
    stairs[8:] += 60
    stairs[7, 10:] += 60
    enlarged = Image.fromarray(stairs).resize((320, 240), 0)
    for subsampling in (0, 2):
        for image in (enlarged, enlarged.filter(ImageFilter.GaussianBlur(12))):
            assert open_image(_jpeg(np.asarray(image), subsampling=subsampling, quality=90)).suspicion is None


@pytest.mark.slow
def test_of_changed_bytes_that_decode_without_a_word_many_are_suspect() -> None:
    """The means of the blocks behind the byte differ from those of the whole file, all by about as much."""
    whole, rng = _jpeg(_photo(), subsampling=0, quality=85), np.random.default_rng(2)
    pixels = open_image(whole).rgb.astype(int)
    assert open_image(whole).suspicion is None
    silent = found = 0
    for _ in range(400):
        place = int(rng.integers(700, len(whole) - 2000))
        damaged = whole[:place] + bytes((int(rng.integers(1, 255)),)) + whole[place + 1 :]
        try:
            opened = open_image(damaged)
        except BadImage:
            continue
        if np.median(np.abs(opened.rgb.astype(int) - pixels)[-20:]) > 12:
            silent, found = silent + 1, found + bool(opened.suspicion)
    assert silent >= 5
    assert found >= silent / 2


def test_small_pictures_and_other_structures_are_left_alone() -> None:
    small = _photo()[:60, :60]
    assert colour_step(_jpeg(small), small) is None
    assert colour_step(b"\xff\xd8", _photo()) is None
    assert colour_step(_jpeg(_photo()), small) is None
