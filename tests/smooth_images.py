"""Smooth random images, and a small network whose batch-norm statistics can be set to theirs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from headstart.backbones.recalibrate import recalibrate_batch_norm


def smooth_images(count: int, seed: int = 0) -> Tensor:
    """N×3×20×20, normalised: no two positions of one image are independent, the images are."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 3, 5, 5, generator=draw) + torch.randn(count, 3, 1, 1, generator=draw)
    return nn.functional.interpolate(coarse, size=(20, 20), mode="bilinear")


def two_norms(seed: int = 0) -> nn.Sequential:
    """Two convolutions with batch norm and ReLU; new statistics."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 12, 3, bias=False),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Conv2d(12, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
    ).eval()


def settled(pixels: Tensor) -> nn.Sequential:
    """That network with the statistics of these pixels."""
    model = two_norms()
    recalibrate_batch_norm(model, lambda: [pixels])
    return model
