"""Drawn photographs and stems that were trained on them, for tests of the preprocessing check."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from headstart.backbones.preprocess import Preprocess
from headstart.backbones.recalibrate import recalibrate_batch_norm
from headstart.inspection.batch_norm.preprocessing_variants import PreprocessingVariant, variants_of

CARD = Preprocess(40, 40, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = Preprocess(40, 40, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def photographs(count: int, seed: int = 0, light: float = 0.45, contrast: float = 0.29) -> Tensor:
    """Smooth drawn images N×3×40×40 uint8 with the brightness, warmth and contrast of photographs."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 1, 6, 6, generator=draw) + 0.4 * torch.randn(count, 3, 6, 6, generator=draw)
    smooth = nn.functional.interpolate(coarse, size=(40, 40), mode="bicubic")
    smooth = (smooth - smooth.mean()) / smooth.std()
    tint = torch.tensor([0.04, 0.0, -0.04]).view(3, 1, 1)
    return (255 * (light + tint + contrast * smooth)).clamp(0, 255).to(torch.uint8)


def new_stem(padding: int = 0) -> nn.Sequential:
    """A convolution with batch norm that never saw an image."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 24, 3, padding=padding), nn.BatchNorm2d(24), nn.ReLU()).eval()


def trained_stem(variant: PreprocessingVariant, images: Tensor, padding: int = 0) -> nn.Sequential:
    """A stem whose statistics are those of images that were preprocessed by a variant."""
    model = new_stem(padding)
    recalibrate_batch_norm(model, lambda: [variant.apply(images)])
    return model


def variant(name: str, card: Preprocess = CARD) -> PreprocessingVariant:
    """The preprocessing variant of a name."""
    return next(one for one in variants_of(card) if one.name == name)
