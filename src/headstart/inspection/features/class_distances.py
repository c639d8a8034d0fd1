"""How far the classes are apart in features: variance between classes, and accuracy of the nearest class mean."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def between_classes(features: Tensor, labels: Tensor) -> float:
    """Share of the variance of N×D features, rows scaled to unit length, that lies between class means.

    Random labels give (C-1)/(N-1) on average.
    """
    x = F.normalize(features.double(), dim=1)
    means = torch.stack([x[labels == one].mean(0) for one in classes_of(labels)])
    counts = torch.stack([(labels == one).sum() for one in classes_of(labels)])
    total = (x - x.mean(0)).square().sum()
    between = (counts[:, None] * (means - x.mean(0)).square()).sum()
    return float(between / total) if total > 0 else 0.0


def classes_of(labels: Tensor) -> Tensor:
    """The classes that occur among labels, in ascending order."""
    return torch.bincount(labels).nonzero()[:, 0]


def nearest_mean(features: Tensor, labels: Tensor) -> tuple[int, int]:
    """Images classified correctly by the nearest class mean, each left out of its own, and images classified.

    Images that are alone in their class are not classified, for their class has no other mean; others may be nearest
    to them.
    """
    x = F.normalize(features.double(), dim=1)
    classes = classes_of(labels)
    own = labels[:, None] == classes
    counts = own.sum(0)
    sums = own.double().T @ x
    distances = torch.cdist(x, sums / counts[:, None])
    without = (sums[own.int().argmax(1)] - x) / (counts[own.int().argmax(1)] - 1).clamp_min(1)[:, None]
    distances[own] = (x - without).norm(dim=1)
    classified = counts[own.int().argmax(1)] > 1
    correct = own[torch.arange(len(x)), distances.argmin(1)] & classified
    return int(correct.sum()), int(classified.sum())
