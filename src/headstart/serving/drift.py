"""FeatureDrift: how far the images that are asked about have moved from the training images, on average.

The mean feature of recent images is compared with that of the training images, in units of the spread of single
training images. Numbers of several processes add up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

WINDOW = 500  # images that count: the noise is then 4 % of the spread, and a change shows within a day of little use


@dataclass(frozen=True)
class TrainingMean:
    """The mean D of training features at unit length, and how many images it is of."""

    mean: Values
    images: int

    @property
    def spread(self) -> float:
        """Root mean squared distance of a training image from the mean; of rows of length 1 it is √(1 - ‖mean‖²)."""
        return math.sqrt(max(1 - float(self.mean @ self.mean), 0.0))


@dataclass(frozen=True)
class RecentMean:
    """The mean of recent features of one process.

    Args:
        mean: D. count: images in it, at most `WINDOW`. squares: sum of the squared weights of its images.
    """

    mean: Values
    count: int
    squares: float


@dataclass(frozen=True)
class Drift:
    """How far the mean feature has moved.

    Args:
        value: distance of the means over the spread of training images; 0: not at all, 1: as far as a single training
            image is from their mean.
        noise: what `value` would be, as root mean square, for as many independent images like the training images.
        images: how many recent images it is of, in effect.
    """

    value: float
    noise: float
    images: float


class FeatureDrift:
    """Follows the mean feature of the images of one process; not safe for several threads by itself."""

    def __init__(self, width: int) -> None:
        self._mean = np.zeros(width)
        self._count, self._squares = 0, 0.0

    def add(self, row: NDArray[np.floating]) -> None:
        """Count a feature D of unit length: the plain mean of the first `WINDOW`, then older ones fade."""
        self._count = min(self._count + 1, WINDOW)
        share = 1 / self._count
        self._mean += share * (row - self._mean)
        self._squares = (1 - share) ** 2 * self._squares + share**2

    @property
    def recent(self) -> RecentMean:
        """The mean by now."""
        return RecentMean(self._mean.copy(), self._count, self._squares)


def measure_drift(training: TrainingMean, parts: Sequence[RecentMean]) -> Drift | None:
    """The drift of all processes together; None before the first image, and where all training images are the same."""
    parts = [part for part in parts if part.count]
    total, spread = sum(part.count for part in parts), training.spread
    if not total or not spread:
        return None
    mean = sum((part.count * part.mean for part in parts), np.zeros_like(training.mean)) / total
    squares = sum(part.count**2 * part.squares for part in parts) / total**2
    value = float(np.linalg.norm(mean - training.mean)) / spread
    return Drift(value, math.sqrt(squares + 1 / training.images), 1 / squares)
