"""A TIFF whose tiles cannot be is damaged; other damage of it: test_image_damage.py."""

from __future__ import annotations

import pytest

from headstart.data.images import BadImage, open_image
from tiff_files import tiff


def test_tiles_without_a_width_are_damage() -> None:
    with pytest.raises(BadImage, match="a size in its header is impossible"):
        open_image(tiff(bytes(4), t322=0, t323=16, t324=8, t325=4))
