"""The transforms that are checked, on prepared images; what is outside the picture is filled by reflection."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as change  # type: ignore[import-untyped]

Transform = Callable[[Tensor], Tensor]
"""N×3×S×S uint8 → the same shape; deterministic, so that the answer does not depend on a seed."""

_DEGREES = 15.0
_HUE = 0.1  # of the circle of colours: green leaves stay green, a red pen turns orange


def _alternate(one: Transform, other: Transform) -> Transform:
    """Every second image the one way, the others the other way."""

    def both(pixels: Tensor) -> Tensor:
        out = torch.empty_like(pixels)
        out[::2], out[1::2] = one(pixels[::2]), other(pixels[1::2])
        return out

    return both


def _rotate(degrees: float) -> Transform:
    def rotate(pixels: Tensor) -> Tensor:
        if not len(pixels):
            return pixels
        side = pixels.shape[-1]
        edge = min(math.ceil(side / 4), side - 1)  # more than a corner of 15° needs
        wide = torch.nn.functional.pad(pixels.float(), (edge,) * 4, mode="reflect").to(torch.uint8)
        turned = change.rotate(wide, degrees, interpolation=change.InterpolationMode.BILINEAR)
        return change.center_crop(turned, [side, side])  # type: ignore[no-any-return]

    return rotate


def _hue(by: float) -> Transform:
    return lambda pixels: change.adjust_hue(pixels, by) if len(pixels) else pixels


def _crop(pixels: Tensor) -> Tensor:
    """Half the area, from one corner after the other, enlarged again."""
    side = pixels.shape[-1]
    part = max(1, round(side * math.sqrt(0.5)))
    rest, out = side - part, torch.empty_like(pixels)
    for corner, (top, left) in enumerate(((0, 0), (0, rest), (rest, 0), (rest, rest))):
        if len(chosen := pixels[corner::4]):
            out[corner::4] = change.resized_crop(chosen, top, left, part, part, [side, side], antialias=True)
    return out


def _blur(pixels: Tensor) -> Tensor:
    """With a deviation of a hundredth of the side: about what a hand that shakes does."""
    sigma = max(pixels.shape[-1] / 100, 0.5)
    return change.gaussian_blur(pixels, 2 * math.ceil(3 * sigma) + 1, [sigma, sigma])  # type: ignore[no-any-return]


TRANSFORMS: dict[str, Transform] = {
    "horizontal-flip": lambda pixels: pixels.flip(3),
    "vertical-flip": lambda pixels: pixels.flip(2),
    "rotate-90": lambda pixels: torch.rot90(pixels, 1, (2, 3)),
    "rotate-180": lambda pixels: pixels.flip(2).flip(3),
    "rotate-15": _alternate(_rotate(_DEGREES), _rotate(-_DEGREES)),
    "hue": _alternate(_hue(_HUE), _hue(-_HUE)),
    "grey": lambda pixels: change.rgb_to_grayscale(pixels, num_output_channels=3),
    "crop-half": _crop,
    "blur": _blur,
}
"""Name → transform."""
