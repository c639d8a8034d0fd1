"""Changed CCITT codes of a TIFF are noticed; whole files are not suspected, whatever the writer's options."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import pytest
from PIL import Image, ImageDraw

from headstart.data.images import open_image

_PACKINGS = ("group4", "group3", "tiff_ccitt")


def _page(invert: bool = False) -> Image.Image:
    page = Image.new("1", (260, 200), 1)
    draw, rng = ImageDraw.Draw(page), np.random.default_rng(0)
    for y in range(0, 200, 14):
        draw.text((int(rng.integers(20)), y), "".join(chr(code) for code in rng.integers(33, 126, 40)), fill=0)
    return page.point(lambda value: 255 - value) if invert else page


def _saved(image: Image.Image, packing: str, tags: Mapping[int, int] | None = None) -> bytes:
    file = io.BytesIO()
    image.save(file, "TIFF", compression=packing, tiffinfo=dict(tags or {}))
    return file.getvalue()


def _codes(data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(data)) as image:
        return image.tag_v2[273][0], image.tag_v2[273][-1] + image.tag_v2[279][-1]


@pytest.mark.parametrize("packing", _PACKINGS)
@pytest.mark.parametrize("kind", ["byte", "zeros", "removed"])
def test_changed_codes_are_suspect(packing: str, kind: str) -> None:
    whole = _saved(_page(), packing)
    begin, end = _codes(whole)
    for share in (0.3, 0.5, 0.8):
        place = begin + int(share * (end - begin))
        gap = {
            "byte": bytes((whole[place] ^ 0x24,)),
            "zeros": bytes(30),
            "removed": whole[place + 20 : end] + bytes(20),
        }
        damaged = whole[:place] + gap[kind] + whole[place + len(gap[kind]) :]

        opened = open_image(damaged)

        assert not np.array_equal(opened.rgb, open_image(whole).rgb)  # libtiff says nothing
        assert "fax codes" in str(opened.suspicion)


@pytest.mark.parametrize("packing", _PACKINGS)
@pytest.mark.parametrize("tags", [{}, {278: 16}, {262: 0}, {292: 1}, {292: 4}, {292: 5, 278: 7}])
def test_whole_pages_are_not_suspect(packing: str, tags: dict[int, int]) -> None:
    for page in (_page(), _page(invert=True), _page().resize((3000, 40)), Image.new("1", (40, 30))):
        assert open_image(_saved(page, packing, tags)).suspicion is None


@pytest.mark.parametrize("packing", _PACKINGS)
def test_the_last_bit_of_each_byte_may_come_first(packing: str) -> None:
    whole = bytearray(_saved(_page(), packing, {266: 1}))
    begin, end = _codes(bytes(whole))
    place = whole.index(bytes.fromhex("0a01 0300 01000000"))  # FillOrder, one short
    whole[place + 8] = 2
    whole[begin:end] = bytes(int(f"{byte:08b}"[::-1], 2) for byte in whole[begin:end])

    opened = open_image(bytes(whole))

    assert np.array_equal(opened.rgb, open_image(_saved(_page(), packing)).rgb)
    assert opened.suspicion is None


def test_a_writer_that_differs_from_the_first_bytes_on_is_not_suspect() -> None:
    """Blank bits before the first end-of-line mark are allowed (T.4, fill), and libtiff writes none."""
    whole = _saved(_page(), "group3")
    begin, end = _codes(whole)
    filled = whole[:begin] + bytes(2) + whole[begin : end - 2] + whole[end:]

    assert open_image(filled).suspicion is None
