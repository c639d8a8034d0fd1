"""The textbook's way to train a new top: a frozen resnet18, Adam, every image decoded again in every epoch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn
from torchvision import datasets, models, transforms  # type: ignore[import-untyped]

from record import Spent, spending

BATCH = 16
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def textbook_steps() -> Any:
    """Resize, CenterCrop, ToTensor, Normalize, as in torchvision's tutorial."""
    steps = [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    return transforms.Compose(steps)


def textbook_images(folder: Path) -> Any:
    """ImageFolder over a folder for each class."""
    return datasets.ImageFolder(folder, textbook_steps())


def textbook_loader(folder: Path, workers: int) -> Iterable[Any]:
    """Shuffled batches of 16."""
    return torch.utils.data.DataLoader(textbook_images(folder), BATCH, shuffle=True, num_workers=workers)


def frozen_resnet18(weights: Path) -> Any:
    """resnet18 with its weights frozen and a new top for two classes."""
    network = models.resnet18()
    network.load_state_dict(load_file(weights))
    network.requires_grad_(False)
    network.fc = nn.Linear(512, 2)
    return network


def textbook_epoch(folder: Path, weights: Path, workers: int) -> Spent:
    """What one epoch spends; loading the weights is not counted."""
    loader, network = textbook_loader(folder, workers), frozen_resnet18(weights)
    optimiser = torch.optim.Adam(network.fc.parameters(), lr=1e-3)
    network.train()
    with spending() as spent:
        for pixels, labels in loader:
            loss: Any = nn.functional.cross_entropy(network(pixels), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return spent
