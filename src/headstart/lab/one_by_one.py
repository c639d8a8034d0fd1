"""A 1×1 convolution mixes channels and leaves every pixel where it is; turning an image grey is one.

Claim: grey = 0.299 red + 0.587 green + 0.114 blue, the rule that PIL uses, is a convolution 3→1 with a kernel of one
    pixel; and any such convolution is the same linear layer applied to every pixel.
Source: the chapter on transfer learning, 1×1 convolutions; Lin et al. 2014, Network in Network, arXiv:1312.4400; the
    weights: ITU-R BT.601.
Settings: a drawn hand of 96×96 pixels, seed 4.
Expected: largest difference to PIL's grey at most half a level of 255 and its rounding, 0.0021; to a linear layer on
    every pixel 0 ± 1e-6; a change of one pixel changes one pixel. With other weights (`weights=(1/3, 1/3, 1/3)`) the
    first fails.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from headstart.datasets.hands import draw_hand
from headstart.figures.panels import ImagePlot, Panel
from headstart.lab.catalogue import CLAIMS
from headstart.lab.experiment import Experiment, Number, drawn_from

SOURCE = "chapter on transfer learning, 1×1 convolutions; Lin et al. 2014, Network in Network; ITU-R BT.601"
GREY = (0.299, 0.587, 0.114)


def run(*, weights: tuple[float, float, float] = GREY, size: int = 96, picture: int = 4, seed: int = 0) -> Experiment:
    """Turn a drawn hand grey by a convolution and compare with PIL and with a linear layer.

    Args:
        picture: seed of the drawn hand. seed: of the eight filters that are compared with a linear layer.
    """
    settings: dict[str, object] = dict(locals())
    image = draw_hand("scissors", seed=picture, size=size)
    pixels = torch.from_numpy(np.asarray(image, dtype=np.float32) / 255).permute(2, 0, 1)[None]
    with drawn_from(seed), torch.no_grad():
        grey = nn.functional.conv2d(pixels, torch.tensor(weights).reshape(1, 3, 1, 1))
        by_pil = torch.from_numpy(np.asarray(image.convert("L"), dtype=np.float32) / 255)
        filters = nn.Conv2d(3, 8, kernel_size=1)
        mixed = filters(pixels)
        apart = _linear(filters, pixels) - mixed
        touched = _touched(filters, pixels, mixed)
    found = (
        Number("largest difference to PIL's grey", float((grey[0, 0] - by_pil).abs().max()), 0.0, 0.0021),
        Number("mean difference to PIL's grey, without sign", float((grey[0, 0] - by_pil).abs().mean()), 0.0, 0.0015),
        Number("largest difference to a linear layer on every pixel", float(apart.abs().max()), 0.0, 1e-6),
        Number("pixels that change when one is changed", touched, 1.0),
    )
    interpretation = (
        f"The convolution has {len(weights)} weights for an image of {pixels[0, 0].numel():,} pixels; PIL rounds to "
        "256 levels, the convolution does not.",
    )
    return Experiment(
        "one_by_one", CLAIMS["one_by_one"], SOURCE, settings, found, (), interpretation, _panels(pixels, grey, weights)
    )


def _linear(filters: nn.Conv2d, pixels: Tensor) -> Tensor:
    """The same weights as a matrix that every pixel's three numbers are multiplied by."""
    layer = nn.functional.linear(pixels.permute(0, 2, 3, 1), filters.weight[:, :, 0, 0], filters.bias)
    return layer.permute(0, 3, 1, 2)


def _touched(filters: nn.Conv2d, pixels: Tensor, mixed: Tensor) -> float:
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
