"""A JPEG whose data end early or hold zeros is distinguished from a whole one with padding or grey corners."""

from __future__ import annotations

import pytest

from headstart.data.images import BadImage, open_image
from headstart.data.jpeg_damage import libjpeg_warning
from mutated_images import whole_file


def test_bytes_after_the_end_of_a_jpeg_are_no_damage() -> None:
    """Cameras append thumbnails and padding; libjpeg calls them extraneous."""
    whole = whole_file("jpeg", 0)

    assert open_image(whole + b"\x00" * 64).damage is None
    assert libjpeg_warning(whole, "RGB") is None


@pytest.mark.parametrize("format_", ["jpeg", "jpeg444", "jpeg-grey", "progressive"])
@pytest.mark.parametrize("share", [0.4, 0.6, 0.8])
def test_data_that_end_early_are_damage_with_and_without_an_end_mark(format_: str, share: float) -> None:
    whole = whole_file(format_, 1)
    cut = whole[: int(share * len(whole))]

    for damaged in (cut, cut + whole[-2:], cut + bytes(len(whole) - len(cut))):
        with pytest.raises(BadImage, match=r"damaged|truncated"):
            open_image(damaged)
