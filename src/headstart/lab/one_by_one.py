"""A 1×1 convolution mixes channels at each pixel; converting an image to grey is one.

Claim: grey = 0.299 red + 0.587 green + 0.114 blue, the rule of PIL, is a 1×1 convolution 3→1; and any such convolution
    is the same linear layer applied at every pixel.
Source: the chapter on transfer learning, 1×1 convolutions; Lin et al. 2014, Network in Network, arXiv:1312.4400; the
    weights: ITU-R BT.601.
Settings: a drawn hand of 96×96 pixels, seed 4.
Expected: largest difference to PIL's grey at most half a level of 255 and its rounding, 0.0021; to a linear layer at
    every pixel 0 ± 1e-6; a change of one pixel changes one pixel. With other weights (`weights=(1/3, 1/3, 1/3)`) the
    first fails.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from headstart.datasets.hands import draw_hand
from headstart.figures.panels import ImagePlot, Panel
from headstart.lab.experiment import Experiment, Number, seeded

SOURCE = "chapter on transfer learning, 1×1 convolutions; Lin et al. 2014, Network in Network; ITU-R BT.601"
GREY = (0.299, 0.587, 0.114)


def run(*, weights: tuple[float, float, float] = GREY, size: int = 96, picture: int = 4, seed: int = 0) -> Experiment:
    """Convert a drawn hand to grey by a convolution, and compare with PIL and with a linear layer.

    Args:
        picture: seed of the drawn hand. seed: of the eight filters that are compared with a linear layer.
    """
    settings: dict[str, object] = dict(locals())
    image = draw_hand("scissors", seed=picture, size=size)
    pixels = torch.from_numpy(np.asarray(image, dtype=np.float32) / 255).permute(2, 0, 1)[None]
    with seeded(seed), torch.no_grad():
        grey = nn.functional.conv2d(pixels, torch.tensor(weights).reshape(1, 3, 1, 1))
        by_pil = torch.from_numpy(np.asarray(image.convert("L"), dtype=np.float32) / 255)
        filters = nn.Conv2d(3, 8, kernel_size=1)
        mixed = filters(pixels)
        difference = _linear(filters, pixels) - mixed
        changed = _changed_pixels(filters, pixels, mixed)
    found = (
        Number("largest difference to PIL's grey", float((grey[0, 0] - by_pil).abs().max()), 0.0, 0.0021),
        Number("mean absolute difference to PIL's grey", float((grey[0, 0] - by_pil).abs().mean()), 0.0, 0.0015),
        Number("largest difference to a linear layer at every pixel", float(difference.abs().max()), 0.0, 1e-6),
        Number("pixels that change when one is changed", changed, 1.0),
    )
    interpretation = (
        f"The convolution has {len(weights)} weights for an image of {pixels[0, 0].numel():,} pixels; PIL rounds to "
        "256 levels, the convolution does not.",
    )
    return Experiment(
        "one_by_one",
        SOURCE,
        settings,
        numbers=found,
        interpretation=interpretation,
        panels=_panels(pixels, grey, weights),
    )


def _linear(filters: nn.Conv2d, pixels: Tensor) -> Tensor:
    """The same weights as a linear layer at every pixel."""
    layer = nn.functional.linear(pixels.permute(0, 2, 3, 1), filters.weight[:, :, 0, 0], filters.bias)
    return layer.permute(0, 3, 1, 2)


def _changed_pixels(filters: nn.Conv2d, pixels: Tensor, mixed: Tensor) -> float:
    other = pixels.clone()
    other[:, :, pixels.shape[2] // 2, pixels.shape[3] // 3] += 0.5
    return float((filters(other) != mixed).any(1).sum())


def _panels(pixels: Tensor, grey: Tensor, weights: tuple[float, float, float]) -> tuple[Panel, ...]:
    names = ("red", "green", "blue")
    channels = tuple(
        ImagePlot(f"{name}, × {weight:.3f}", pixels[0, i].numpy(), 0.0, 1.0)
        for i, (name, weight) in enumerate(zip(names, weights, strict=True))
    )
    colours = ImagePlot("the image", pixels[0].permute(1, 2, 0).numpy())
    return (colours, *channels, ImagePlot("their sum", grey[0, 0].numpy(), 0.0, 1.0))
