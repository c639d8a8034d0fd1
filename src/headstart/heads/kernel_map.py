"""KernelMap: features of an image → its similarity to each landmark, by matrix products, a square root and exp."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

_LEAST = 1e-12  # below it the square root is flat for a gradient, which would be infinite at 0


@dataclass(frozen=True, eq=False)
class KernelMap:
    """Radial basis function exp(-γ ‖φ(x) - l‖²) of M landmarks l.

    φ takes the signed square root of each feature and scales each stage to unit length, so that a few large features do
    not drown the others, and distances are those of Hellinger for features that are not negative.

    Args:
        landmarks: M×D float32, in the form of φ. gamma: γ > 0. widths: features of each stage, in order.

    Source: Arandjelović and Zisserman 2012, CVPR, "Three things everyone should know" (square root).
    """

    landmarks: NDArray[np.float32]
    gamma: float
    widths: tuple[int, ...]

    def similarities(self, x: Matrix) -> Matrix:
        """N×D scaled features → N×M in (0, 1]."""
        roots, marks = signed_roots(x, self.widths), self.landmarks.astype(np.float64)
        squares: Matrix = np.square(roots).sum(axis=1)[:, None] + np.square(marks).sum(axis=1) - 2 * roots @ marks.T
        return np.exp(-self.gamma * squares.clip(0))

    def similarities_of(self, x: torch.Tensor) -> torch.Tensor:
        """The same of a tensor, with a gradient."""
        marks = torch.from_numpy(self.landmarks).to(x)
        stages = [stage.sign() * stage.abs().clamp_min(_LEAST).sqrt() for stage in torch.split(x, list(self.widths), 1)]
        roots = torch.cat([torch.nn.functional.normalize(stage, dim=1) for stage in stages], 1)
        squares = roots.square().sum(1, keepdim=True) + marks.square().sum(1) - 2 * roots @ marks.T
        return torch.exp(-self.gamma * squares.clamp_min(0))


def signed_roots(x: Matrix, widths: Sequence[int]) -> Matrix:
    """φ: N×D → N×D, each stage's signed square roots at unit length; a row of zeros stays zero."""
    roots = np.sign(x) * np.sqrt(np.abs(x))
    begin = 0
    for width in widths:
        stage = roots[:, begin : begin + width]
        length = np.sqrt(np.square(stage).sum(axis=1, keepdims=True))
        stage /= np.where(length > 0, length, 1.0)
        begin += width
    return np.asarray(roots, dtype=np.float64)
