"""Small models to inspect."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from headstart.backbones.backbone import Backbone, load_backbone
from headstart.backbones.models.cifar_resnet import cifar_resnet20
from headstart.classifier.card import Card
from headstart.classifier.classifier import Classifier
from headstart.heads.head import Head


class SmallConvolution(nn.Module):
    """Two convolutions and a head; the head alone takes maps to logits."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.body = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 5, 3), nn.ReLU()
        )
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x))


def make_classifier(
    unit: bool = True, classes: tuple[str, ...] = ("ants", "bees", "wasps"), backbone: Backbone | None = None
) -> Classifier:
    """A backbone, the embedded one if left out, with a head of random weights, temperature 1.7."""
    backbone = backbone or load_backbone("embedded")
    stages = backbone.stages[-2:]
    width = sum(backbone.spec.stage(name).width for name in stages)
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(width, len(classes))), rng.normal(size=len(classes))
    head = Head("ridge", stages, weight, bias, temperature=1.7, unit=unit)
    return Classifier(backbone, head, Card.of(backbone, head, classes))


def make_resnet20(folder: Path, scale: float | None) -> Backbone:
    """CIFAR's ResNet-20, always the same but for its head, which is scaled by a factor, or left out."""
    torch.manual_seed(0)
    state = cifar_resnet20().state_dict()
    head = {name: state.pop(name) for name in ("linear.weight", "linear.bias")}
    if scale is not None:
        state |= {name: scale * value for name, value in head.items()}
    save_file(state, folder / "resnet20.safetensors")
    return load_backbone("cifar_resnet20", weights=str(folder / "resnet20.safetensors"))
