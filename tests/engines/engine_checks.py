"""Backbones to run, pixels, and the distance of an engine's features from the network's own."""

from __future__ import annotations

import torch
from torch import Tensor

from backbones.networks import randomise_batch_norms
from headstart.backbones.backbone import Backbone, build_backbone
from headstart.backbones.catalogue import SPECS


def made(name: str) -> Backbone:
    """A backbone of the catalogue with random weights and batch norms that do something."""
    backbone = build_backbone(SPECS[name])
    randomise_batch_norms(backbone.network)
    return backbone


def noise(backbone: Backbone, images: int) -> Tensor:
    """Pixels of the backbone's size."""
    side = backbone.preprocess.crop
    return torch.randn(images, 3, side, side, generator=torch.Generator().manual_seed(1))


def furthest(backbone: Backbone, found: Tensor, pixels: Tensor) -> float:
    """Largest difference from the network itself, as a share of the largest feature of the stage."""
    with torch.no_grad():
        expected = backbone.features(pixels)
    stages = backbone.slices.values()
    return max(float((expected[:, s] - found[:, s]).abs().max() / expected[:, s].abs().max()) for s in stages)
