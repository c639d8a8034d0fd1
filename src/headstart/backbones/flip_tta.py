"""Mirror: features of an image and of its mirror image as one row, for a classifier that answers with both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

Forward = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class FlipTTA:
    """How the features of both are joined, so that a linear head's scores for the row are the mean of both scores.

    Args:
        widths: numbers per image of each stage.
        unit: whether the head takes stages of unit length: they are then scaled before the mean, for its scores are
            linear only in what was scaled.
    """

    widths: tuple[int, ...]
    unit: bool

    @property
    def name(self) -> str:
        """What tells such features apart from others, for the cache."""
        return "mean of stages of unit length" if self.unit else "mean"

    def features(self, forward: Forward, pixels: Tensor) -> Tensor:
        """N×D of pixels N×3×S×S by a function that gives N×D for them as they are; it is run twice."""
        return (self._scaled(forward(pixels)) + self._scaled(forward(pixels.flip(-1)))) / 2

    def _scaled(self, features: Tensor) -> Tensor:
        if not self.unit:
            return features
        return torch.cat([F.normalize(part, dim=1) for part in torch.split(features, list(self.widths), 1)], 1)
