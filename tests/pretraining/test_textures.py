"""Textures: finite, in range, not flat; their colours mostly unsaturated."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.pretraining.textures import TEXTURE_KINDS, draw_texture, palette


@pytest.mark.parametrize("kind", TEXTURE_KINDS)
def test_textures_are_finite_and_not_flat(kind: str) -> None:
    texture = draw_texture(np.random.default_rng(4), kind, 64)

    assert texture.shape == (64, 64, 3)
    assert texture.dtype == np.float32
    assert np.isfinite(texture).all()
    assert texture.min() >= 0
    assert texture.max() <= 1
    assert texture.std((0, 1)).max() > 0.01


def test_colours_stay_in_range_and_most_are_unsaturated() -> None:
    colours = palette(np.random.default_rng(0), 2000)

    spread = colours.max(1) - colours.min(1)
    assert colours.min() >= 0
    assert colours.max() <= 1
    assert np.median(spread) < 0.25 < np.quantile(spread, 0.9)
