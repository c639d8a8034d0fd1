"""Head: from features to calibrated class probabilities, by a linear map of them or of their similarities."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from headstart.features.matrix import FeatureView
from headstart.heads.kernel_map import KernelMap

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Head:
    """A linear head, on features or on their similarities to landmarks.

    Args:
        kind: name of the solver, such as `ridge` or `logistic`; `trained` by gradient descent.
        stages: whose features it takes, in forward order.
        weight: D×C float64, with a kernel M×C. bias: C float64.
        temperature: scores are divided by it before the softmax; above 0.
        unit: whether it takes each stage scaled to unit length; one trained within its network takes them raw.
        flip_tta: whether it averages the scores of an image and of its horizontal flip; the features that its backbone
            gives are then means over both, and scaled already.
        kernel: features → similarities to M landmarks; None: the head is linear in the features.
    """

    kind: str
    stages: tuple[str, ...]
    weight: Matrix
    bias: Matrix
    temperature: float
    unit: bool = True
    flip_tta: bool = False
    kernel: KernelMap | None = None

    @property
    def scales(self) -> bool:
        """Whether the features of its backbone are still to be scaled."""
        return self.unit and not self.flip_tta

    def scores(self, x: Matrix) -> Matrix:
        """N×D scaled features → N×C scores."""
        inputs = x if self.kernel is None else self.kernel.similarities(x)
        scores: Matrix = inputs @ self.weight + self.bias
        return scores

    def probabilities(self, x: Matrix) -> Matrix:
        """N×D scaled features → N×C calibrated probabilities."""
        return np.asarray(softmax(self.scores(x) / self.temperature, axis=1), dtype=np.float64)

    def probabilities_of(self, view: FeatureView) -> Matrix:
        """N×C calibrated probabilities of stored features, read in blocks."""
        blocks = [self.probabilities(x) for _, x in replace(view, unit=self.scales).blocks()]
        return np.concatenate(blocks or [np.empty((0, len(self.bias)))])
