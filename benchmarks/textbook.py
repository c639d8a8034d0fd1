"""The textbook's way to train a resnet18 under a new top: Adam, every image decoded again in every epoch."""

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
RATES = {"probe": 1e-3, "last-stage": 1e-4, "full": 1e-4}
"""What trains: the top alone, layer4 too, or everything; and Adam's rate for it."""


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


def resnet18_to_train(weights: Path, trains: str = "probe") -> Any:
    """resnet18 with a new top for two classes; what does not train is frozen."""
    network = models.resnet18()
    network.load_state_dict(load_file(weights))
    network.requires_grad_(trains == "full")
    network.layer4.requires_grad_(trains != "probe")
    network.fc = nn.Linear(512, 2)
    return network


def trained_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Those that are not frozen."""
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def rest_batch_norms(network: nn.Module, trains: str) -> None:
    """Put the batch norms before layer4 into eval mode where layer4 trains; the textbook's probe leaves them live."""
    for module in network.modules():
        if trains == "last-stage" and isinstance(module, nn.BatchNorm2d) and not module.weight.requires_grad:
            module.eval()


def textbook_epochs(folder: Path, weights: Path, workers: int, trains: str = "probe", epochs: int = 1) -> Spent:
    """What the epochs spend; loading the weights is not counted."""
    return train_textbook(folder, weights, workers=workers, trains=trains, epochs=epochs)[0]


def train_textbook(
    folder: Path, weights: Path, *, workers: int = 0, trains: str = "probe", epochs: int = 1
) -> tuple[Spent, nn.Module]:
    """What the epochs spend, and the network."""
    loader, network = textbook_loader(folder, workers), resnet18_to_train(weights, trains)
    optimiser = torch.optim.Adam(trained_parameters(network), lr=RATES[trains])
    network.train()
    rest_batch_norms(network, trains)
    with spending() as spent:
        for _ in range(epochs):
            for pixels, labels in loader:
                loss: Any = nn.functional.cross_entropy(network(pixels), labels)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
    return spent, network
