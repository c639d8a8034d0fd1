"""HeadPath: what a solver returns, the same for every kind of head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.features.matrix import FeatureView

Matrix = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Validation:
    """Images that may choose but are neither trained on nor reported: M rows and their labels."""

    view: FeatureView
    labels: Labels


@dataclass(frozen=True)
class RegularizationPath:
    """Every strength with its loss on held-out rows, and the head at the best one.

    Args:
        strengths: K penalties, strong to weak.
        losses: K held-out losses: squared error of ±1 indicators for ridge, cross-entropy for logistic.
        accuracies: K held-out accuracies.
        best: index of the smallest loss.
        weight: D×C, bias: C: scores are x @ weight + bias.
        held_scores: M×C scores of the held-out rows at the best strength; held_labels: M.
        held_out: how rows were held out, in words.
    """

    strengths: Matrix
    losses: Matrix
    accuracies: Matrix
    best: int
    weight: Matrix
    bias: Matrix
    held_scores: Matrix
    held_labels: Labels
    held_out: str

    @property
    def strength(self) -> float:
        """The chosen penalty."""
        return float(self.strengths[self.best])

    @property
    def accuracy(self) -> float:
        """Held-out accuracy at the chosen penalty."""
        return float(self.accuracies[self.best])
