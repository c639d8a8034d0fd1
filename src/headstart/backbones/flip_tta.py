"""FlipTTA: features of an image and its horizontal flip, averaged, for test-time augmentation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

Forward = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class FlipTTA:
    """Averages the features of an image and its flip, so that a linear head's scores are the mean of both scores.

    Args:
        widths: numbers per image of each stage.
        unit: whether the head takes stages of unit length: they are then scaled before the mean, because its scores
            are linear only in scaled features.
    """

    widths: tuple[int, ...]
    unit: bool

    @property
    def name(self) -> str:
        """What distinguishes such features from others in the cache."""
        return "mean of stages of unit length" if self.unit else "mean"

    def features(self, forward: Forward, pixels: Tensor) -> Tensor:
        """Features N×D of pixels N×3×S×S; `forward` gives N×D for pixels, and runs twice."""
        return (self._scaled(forward(pixels)) + self._scaled(forward(pixels.flip(-1)))) / 2

    def _scaled(self, features: Tensor) -> Tensor:
        if not self.unit:
            return features
        return torch.cat([F.normalize(part, dim=1) for part in torch.split(features, list(self.widths), 1)], 1)
