"""Head: the linear top on scaled features, with the temperature that makes its scores into honest probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from headstart.features.matrix import FeatureView

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Head:
    """A linear head.

    Args:
        kind: `ridge` or `logistic`.
        stages: whose features it takes, in forward order, each scaled to unit length.
        weight: D×C float64. bias: C float64.
        temperature: scores are divided by it before the softmax; above 0.
    """

    kind: str
    stages: tuple[str, ...]
    weight: Matrix
    bias: Matrix
    temperature: float

    def scores(self, x: Matrix) -> Matrix:
        """N×D scaled features → N×C scores."""
        scores: Matrix = x @ self.weight + self.bias
        return scores

    def probabilities(self, x: Matrix) -> Matrix:
        """N×D scaled features → N×C calibrated probabilities."""
        return np.asarray(softmax(self.scores(x) / self.temperature, axis=1), dtype=np.float64)

    def probabilities_of(self, view: FeatureView) -> Matrix:
        """N×C calibrated probabilities of stored features, read in blocks."""
        parts = [self.probabilities(x) for _, x in view.blocks()]
        return np.concatenate(parts or [np.empty((0, len(self.bias)))])
