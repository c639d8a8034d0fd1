"""Networks and pixels for the tests of this room: batch norms that do something, images small enough to be quick."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from headstart.backbones.backbone import Backbone

_SMALLEST = {"inception_v3": 139, "vit_b_16": 224, "alexnet": 96, "mobilenet_v2_035": 97}


def randomise_batch_norms(network: nn.Module, seed: int = 0) -> None:
    """Statistics and affine parts as a trained network might have; fresh ones are 0 and 1, and hide every mistake."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.running_mean.normal_(0, 0.2, generator=generator)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2, generator=generator)  # type: ignore[union-attr]
            if module.affine:
                with torch.no_grad():
                    module.weight.uniform_(0.5, 1.5, generator=generator)
                    module.bias.normal_(0, 0.2, generator=generator)


def small_pixels(backbone: Backbone, images: int = 2, seed: int = 0) -> Tensor:
    """Pixels images×3×S×S, S the smallest side that the network takes without trouble."""
    side = min(backbone.preprocess.crop, _SMALLEST.get(backbone.spec.name, 64))
    return torch.randn(images, 3, side, side, generator=torch.Generator().manual_seed(seed))
