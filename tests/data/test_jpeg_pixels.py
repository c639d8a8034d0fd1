"""Pixels of a JPEG, and what is said of damage where only Pillow can decode it. More of both is in test_images.py."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from headstart.data import jpeg_pixels
from headstart.data.jpeg_pixels import decode_jpeg
from mutated_images import whole_file


def _decoded(data: bytes) -> tuple[np.ndarray | None, list[str]]:
    said: list[str] = []
    image = Image.open(io.BytesIO(data))
    return decode_jpeg(image, data, 1, blame=lambda reason: said.append(reason) if reason else None), said


def test_the_pixels_are_those_of_pillow() -> None:
    pytest.importorskip("simplejpeg")
    data = whole_file("jpeg", 0)

    pixels, said = _decoded(data)

    np.testing.assert_array_equal(pixels, np.asarray(Image.open(io.BytesIO(data))))
    assert said == []


def test_damage_is_said_without_simplejpeg_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jpeg_pixels, "simplejpeg", None)
    whole = whole_file("jpeg", 0)

    assert _decoded(whole) == (None, [])  # Pillow decodes it
    pixels, said = _decoded(whole[: len(whole) // 2] + whole[-2:])
    assert pixels is None
    assert said == ["truncated or damaged (its data end before the last pixels)"]


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("quality", [40, 90, 100])
def test_four_components_of_which_some_have_fewer_values_are_whole(subsampling: int, quality: int) -> None:
    """simplejpeg refuses their subsampling, with and without the last byte: that says nothing about the last byte."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(whole_file("jpeg", 1))).convert("CMYK").save(
        buffer, "JPEG", quality=quality, subsampling=subsampling
    )
    data = buffer.getvalue()

    assert _decoded(data) == (None, [])  # Pillow decodes it
    assert _decoded(data[: len(data) // 2] + data[-2:])[1] != []
