"""Transforms keep shape and kind, and do what they are called."""

from __future__ import annotations

import pytest
import torch

from headstart.advice.transforms import TRANSFORMS


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("count", [1, 5])
def test_each_keeps_the_shape_and_is_deterministic(name: str, count: int) -> None:
    pixels = torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    before = pixels.clone()
    moved = TRANSFORMS[name](pixels)
    assert moved.shape == pixels.shape
    assert moved.dtype == torch.uint8
    assert torch.equal(moved, TRANSFORMS[name](pixels))
    assert torch.equal(pixels, before)
    assert not torch.equal(moved, pixels)


def test_flips_and_turns_are_their_own_inverse_and_a_corner_goes_where_it_should() -> None:
    pixels = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    pixels[..., 0, 0] = 255  # top left
    ends = {"horizontal-flip": (0, 7), "vertical-flip": (7, 0), "rotate-180": (7, 7), "rotate-90": (7, 0)}
    for name, (row, column) in ends.items():
        moved = TRANSFORMS[name](pixels)
        assert moved[0, 0, row, column] == 255, name
        assert int((moved > 0).sum()) == 3


def test_grey_has_one_value_in_all_channels_and_the_crop_shows_half_the_area() -> None:
    pixels = torch.randint(256, (4, 3, 40, 40), dtype=torch.uint8)
    grey = TRANSFORMS["grey"](pixels)
    assert torch.equal(grey[:, 0], grey[:, 1])
    ramp = torch.arange(40, dtype=torch.uint8).expand(4, 3, 40, 40).contiguous()
    crops = TRANSFORMS["crop-half"](ramp)
    assert crops[0].max() <= 28  # the left √½ of 40 columns
    assert crops[1].min() >= 11
    smooth = TRANSFORMS["blur"](pixels).float()
    assert smooth.std() < pixels.float().std()


def test_a_rotation_fills_the_corners_with_the_picture() -> None:
    white = torch.full((2, 3, 30, 30), 255, dtype=torch.uint8)
    assert int(TRANSFORMS["rotate-15"](white).min()) == 255
