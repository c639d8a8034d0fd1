"""WebP and AVIF data that no pixel depends on are damage; whole files use theirs, however they are written."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart.data.images import BadImage, ImageRules, open_image
from headstart.data.unused_data import unused_data
from mutated_images import whole_file


@pytest.mark.parametrize("format_", ["webp", "avif"])
def test_a_changed_byte_in_the_stream_shows_in_data_that_are_left_over(format_: str) -> None:
    """Most changed bytes leave some: of 20 places half and more."""
    whole = whole_file(format_, 0)
    picture = open_image(whole).rgb.astype(int)
    seen = another = 0
    for place in range(len(whole) // 3, 2 * len(whole) // 3, len(whole) // 60):
        try:
            opened = open_image(whole[:place] + bytes([whole[place] ^ 0x77]) + whole[place + 1 :])
        except BadImage as bad:
            seen += "no pixel depends on" in bad.reason
            continue
        another += np.abs(opened.rgb - picture).mean() > 8

    assert seen >= 10
    assert another <= 2


@pytest.mark.slow
@pytest.mark.parametrize("side", [(8, 8), (17, 65), (40, 24), (129, 96)])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("WEBP", {"quality": 5}),
        ("WEBP", {"quality": 100, "method": 0}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"quality": 60, "save_all": True}),
        ("AVIF", {"quality": 40, "speed": 10}),
        ("AVIF", {"quality": 95, "speed": 10, "subsampling": "4:4:4", "xmp": b"<x>text behind the picture</x>" * 9}),
    ],
)
def test_whole_files_use_their_data(side: tuple[int, int], kind: str, options: dict[str, Any]) -> None:
    rng = np.random.default_rng(3)
    picture = rng.integers(0, 255, (*side, 3)).astype(np.uint8)
    flat = np.full((*side, 3), 200, np.uint8)
    half = np.where(np.arange(side[0])[:, None, None] < side[0] // 2, picture, flat).astype(np.uint8)
    clear = np.dstack([picture, np.where(np.arange(side[0])[:, None] < side[0] // 2, 255, 0) + 0 * picture[..., 0]])
    for pixels in (picture, flat, half, clear.astype(np.uint8)):
        buffer = io.BytesIO()
        image = Image.fromarray(pixels)
        more = {"append_images": [Image.fromarray(255 - pixels)]} if options.get("save_all") else {}
        image.save(buffer, kind, **options, **more)

        assert open_image(buffer.getvalue(), ImageRules(keep_damaged=True)).damage is None


def test_another_structure_than_the_usual_one_is_left_to_the_decoder() -> None:
    image = Image.open(io.BytesIO(whole_file("avif", 0)))
    image.load()

    assert unused_data(image, b"\0\0\0\x10ftypavif" + bytes(40)) is None
