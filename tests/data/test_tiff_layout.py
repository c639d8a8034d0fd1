"""TIFFs that are not read say what they hold; those that Pillow reads wrongly are refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from headstart.data.images import BadImage, ImageRules, open_image
from headstart.data.tiff_layout import misread_tiff, unsupported_tiff
from tiff_files import tiff


def test_the_file_of_this_test_is_one_that_is_read() -> None:
    assert open_image(tiff(bytes([0, 50, 100, 255]))).rgb[..., 0].tolist() == [[0, 50], [100, 255]]


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"t258": 64}, "1 × 64 bit unsigned"),
        ({"t258": 16, "t339": 3}, "16 bit floating-point"),
        ({"t262": 8, "t277": 3, "t258": 16}, "3 × 16 bit unsigned (CIELAB)"),
        ({"t259": 34712}, "packed with JPEG 2000"),
        ({"t259": 65000}, "packed with method 65000"),
        ({"t277": 5}, "5 × 8 bit unsigned (grey)"),
    ],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_what_is_not_read_is_named(order: str, tags: dict[str, int], words: str) -> None:
    """Such files are whole: nothing says that they are damaged."""
    with pytest.raises(BadImage) as bad:
        open_image(tiff(bytes(64), order, **tags))

    assert words in bad.value.reason
    assert "damaged" not in bad.value.reason


def test_a_large_tiff_in_the_other_byte_order_is_a_tiff() -> None:
    """Pillow opens it in one order only."""
    assert open_image(tiff(bytes([0, 50, 100, 255]), big=True)).rgb[0, 1].tolist() == [50] * 3
    with pytest.raises(BadImage, match="a big-endian BigTIFF"):
        open_image(tiff(bytes(4), ">", big=True))


@pytest.mark.parametrize("keep_damaged", [False, True])
def test_signed_bytes_and_deep_planes_are_refused_not_read_wrongly(keep_damaged: bool) -> None:
    rules = ImageRules(keep_damaged=keep_damaged)
    with pytest.raises(BadImage, match="1 × 8 bit signed"):
        open_image(tiff(bytes(4), t339=2), rules)
    planes = io.BytesIO()
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(planes, "TIFF")
    assert misread_tiff(planes.getvalue()) is None
    deep = tiff(bytes(24), t258=16, t262=2, t277=3, t284=2)
    assert "one plane after another" in str(misread_tiff(deep))


def test_a_directory_that_is_not_whole_tells_nothing() -> None:
    whole = tiff(bytes(4))
    assert unsupported_tiff(whole[:20]) is None
    assert unsupported_tiff(whole[:8] + b"\xff\xff" + whole[10:]) is None
    assert misread_tiff(whole[:20]) is None
