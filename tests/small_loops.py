"""A small loop for the tests: points in two classes, a network with batch norm and dropout."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.utils.data import DataLoader, TensorDataset

from headstart.training.stepbystep import StepByStep


def points(n: int = 40) -> TensorDataset:
    generator = torch.Generator().manual_seed(13)
    x = torch.randn(n, 3, generator=generator)
    return TensorDataset(x, (x[:, 0] > 0).long())


def network() -> nn.Sequential:
    torch.manual_seed(4)
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))


def loop(*, lr: float = 0.1, batch: int = 16, validation: bool = True, **options: Any) -> StepByStep:
    model = network()
    sbs = StepByStep(model, nn.CrossEntropyLoss(), SGD(model.parameters(), lr=lr, momentum=0.9), **options)
    data = points()
    sbs.set_loaders(DataLoader(data, batch, shuffle=True), DataLoader(data, 16) if validation else None)
    return sbs


def weights(sbs: StepByStep) -> list[Tensor]:
    return [tensor.clone() for tensor in sbs.model.state_dict().values()]


def equal(one: StepByStep, other: StepByStep) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))
