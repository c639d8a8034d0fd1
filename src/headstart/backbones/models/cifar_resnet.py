"""The residual networks for CIFAR's 32-px images, with shortcuts that have no parameters.

Source: He et al. 2016, arXiv:1512.03385, section 4.2: three stages of n basic blocks with 16, 32 and 64 channels,
6n + 2 layers, option A. Parameter names are those of github.com/akamaster/pytorch_resnet_cifar10, so its weights load.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    """Two 3×3 convolutions beside a shortcut that, where the shape changes, takes every second pixel and adds zeros."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outer)
        self.changes = stride != 1 or inner != outer
        self.added = outer - inner

    def forward(self, x: Tensor) -> Tensor:
        """N×inner×H×W → N×outer×H/stride×W/stride."""
        shortcut = x
        if self.changes:  # option A: zero channels, half before and half after
            before = self.added // 2
            shortcut = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, before, self.added - before))
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)) + shortcut)


class CifarResNet(nn.Module):
    """Residual network for 32-px images; `blocks` to each of three stages."""

    def __init__(self, blocks: int, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.layer1 = _stage(16, 16, blocks, stride=1)
        self.layer2 = _stage(16, 32, blocks, stride=2)
        self.layer3 = _stage(32, 64, blocks, stride=2)
        self.linear = nn.Linear(64, classes)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Pixels N×3×H×W → logits N×classes."""
        x = self.relu(self.bn1(self.conv1(x)))  # N×16×32×32
        x = self.layer3(self.layer2(self.layer1(x)))  # N×64×8×8
        logits: Tensor = self.linear(x.mean((2, 3)))
        return logits


def cifar_resnet20() -> CifarResNet:
    """20 layers: three blocks a stage."""
    return CifarResNet(3)


def cifar_resnet56() -> CifarResNet:
    """56 layers: nine blocks a stage."""
    return CifarResNet(9)


def _stage(inner: int, outer: int, blocks: int, *, stride: int) -> nn.Sequential:
    rest = [Block(outer, outer, 1) for _ in range(blocks - 1)]
    return nn.Sequential(Block(inner, outer, stride), *rest)
