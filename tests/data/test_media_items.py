"""The items of AVIF and HEIC files: their kinds, their places, and which is shown."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from headstart.data.media_items import boxes, read_items


@pytest.mark.parametrize(("kind", "item"), [("AVIF", b"av01"), ("HEIF", b"hvc1")])
def test_the_picture_that_is_shown_and_its_thumbnail_are_found(kind: str, item: bytes) -> None:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif", reason="needs headstart[heic]").register_heif_opener()
    buffer = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(buffer, kind, quality=60)
    data = buffer.getvalue()

    items = read_items(data)

    assert items.kinds[items.primary] == item
    (begin, end) = items.place or (0, 0)
    media = {name: (first, last) for name, first, last in boxes(data, 0, len(data))}[b"mdat"]
    assert media[0] <= begin < end <= media[1] == len(data)


def test_a_box_shorter_than_its_own_head_is_refused() -> None:
    with pytest.raises(ValueError, match="free"):
        list(boxes(b"\0\0\0\x04free", 0, 8))


def test_a_file_without_items_is_refused() -> None:
    with pytest.raises(KeyError):
        read_items(b"\0\0\0\x08free")
