"""How far the classes lie apart in features: share of variance between them, and what the nearest class mean finds."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def between_classes(features: Tensor, labels: Tensor) -> float:
    """Share of the variance of N×D features, rows scaled to unit length, that lies between class means.

    Labels without meaning give (C-1)/(N-1) on average.
    """
    x = F.normalize(features.double(), dim=1)
    means = torch.stack([x[labels == one].mean(0) for one in classes_of(labels)])
    counts = torch.stack([(labels == one).sum() for one in classes_of(labels)])
    total = (x - x.mean(0)).square().sum()
    between = (counts[:, None] * (means - x.mean(0)).square()).sum()
    return float(between / total) if total > 0 else 0.0


def classes_of(labels: Tensor) -> Tensor:
    """The classes that occur among labels, from the smallest."""
    return torch.bincount(labels).nonzero()[:, 0]


def nearest_mean(features: Tensor, labels: Tensor) -> tuple[int, int]:
    """How many images lie nearest to the mean of their own class, they themselves left out; images of such classes.

    Classes of one image have no mean to be near to: their images are not asked, but others may be nearest to them.
    """
    x = F.normalize(features.double(), dim=1)
    classes = classes_of(labels)
    own = labels[:, None] == classes
    counts = own.sum(0)
    sums = own.double().T @ x
    distances = torch.cdist(x, sums / counts[:, None])
    without = (sums[own.int().argmax(1)] - x) / (counts[own.int().argmax(1)] - 1).clamp_min(1)[:, None]
    distances[own] = (x - without).norm(dim=1)
    asked = counts[own.int().argmax(1)] > 1
    hits = own[torch.arange(len(x)), distances.argmin(1)] & asked
    return int(hits.sum()), int(asked.sum())
