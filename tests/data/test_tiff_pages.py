"""The picture of a TIFF is its first page that is no thumbnail and no mask."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from headstart.data.images import BadImage, ImageRules, open_image
from headstart.data.tiff_pages import Pages, read_pages, with_first
from tiff_files import tiff


def pages(*kinds: int, tag: int = 254) -> bytes:
    """A TIFF with a page for each kind: the first of 3×2 pixels of value 20, the next of 6×4 of 40, and so on."""
    images = [Image.new("RGB", (3 * n, 2 * n), (20 * n,) * 3) for n in range(1, len(kinds) + 1)]
    file = io.BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(file, True) as writer:
        for image, kind in zip(images, kinds, strict=True):
            about = TiffImagePlugin.ImageFileDirectory_v2()
            about[tag] = kind
            image.save(writer, "TIFF", tiffinfo=about)
            writer.newFrame()
    return file.getvalue()


@pytest.mark.parametrize(
    ("kinds", "tag", "page"),
    [((0, 1), 254, 1), ((1, 0), 254, 2), ((1, 1, 2), 254, 3), ((4, 0), 254, 2), ((2, 1), 255, 2), ((2, 2), 254, 1)],
)
def test_a_thumbnail_or_a_mask_before_the_picture_is_passed_over(kinds: tuple[int, ...], tag: int, page: int) -> None:
    opened = open_image(pages(*kinds, tag=tag))

    assert opened.rgb.shape == (2 * page, 3 * page, 3)
    assert (opened.rgb == 20 * page).all()
    if page == 1:
        assert opened.notes == (f"first of {len(kinds)} frames",)
    else:
        assert opened.notes[0].startswith(f"page {page} of {len(kinds)}; before it: ")


def test_a_thumbnail_without_a_picture_is_used_and_named() -> None:
    opened = open_image(pages(1))

    assert (opened.rgb == 20).all()
    assert opened.notes == ("a reduced copy or a mask, as it says of itself; the file has no other page",)


def test_a_page_that_refers_outside_the_file_is_damage() -> None:
    whole = tiff(bytes([0, 50, 100, 255]))
    behind = 8 + 2 + 12 * 9
    broken = whole[:behind] + struct.pack("<I", 10**9) + whole[behind + 4 :]

    with pytest.raises(BadImage, match="its page 1 refers to a next one that is not in the file"):
        open_image(broken)
    kept = open_image(broken, ImageRules(keep_damaged=True))
    assert kept.rgb[..., 0].tolist() == [[0, 50], [100, 255]]
    assert "its page 1 refers" in str(kept.damage)


def test_pages_that_go_round_are_counted_once() -> None:
    whole = tiff(bytes(4))
    behind = 8 + 2 + 12 * 9

    assert read_pages(whole[:behind] + struct.pack("<I", 8) + whole[behind + 4 :]) == Pages((8,))
    assert read_pages(b"no TIFF") == Pages()
    assert read_pages(b"II*\0") == Pages()


@pytest.mark.parametrize("big", [False, True])
def test_another_directory_becomes_the_first(big: bool) -> None:
    data = tiff(bytes([0, 50, 100, 255]), big=big)
    (place,) = read_pages(data).places

    assert with_first(with_first(data, 5), place) == data
    assert np.array_equal(open_image(with_first(data, place)).rgb, open_image(data).rgb)
