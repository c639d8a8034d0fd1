"""Which unlabelled images to label next: those the classifier is unsure of, in places where many images lie.

In: features and probabilities of unlabelled images. Out: their order, with margin and density of each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headstart.heads.knn import nearest
from headstart.heads.regularization_path import Labels, Matrix
from headstart.plain import Plain

_NEIGHBOURS = 10  # whose mean cosine is the density; one or two would be the image's own duplicates
_REFERENCE = 5000  # images that densities are measured against; with all of 100,000 it would take hours


@dataclass(frozen=True, kw_only=True)
class LabelCandidate(Plain):
    """An image that is worth a label.

    Args:
        index: among the unlabelled images. score: margin × density, less what the images before it teach; in [0, 1].
        margin: probability of the first class minus that of the second. density: mean cosine with its neighbours,
            mapped from [-1, 1] to [0, 1].
    """

    index: int
    score: float
    margin: float
    density: float


def choose_to_label(features: Matrix, probabilities: Matrix, *, count: int, seed: int = 0) -> list[LabelCandidate]:
    """The images to label next, in this order.

    The score is (1 - margin) times density, as an image far from all others teaches nothing about them. Each image that
    is chosen takes from the others what it would tell about them, so that near duplicates are not chosen twice.

    Args:
        features: N×D, scaled as the head takes them. probabilities: N×C. count: at most so many are chosen.
        seed: of the images that densities are measured against, where there are many.

    Source: Settles and Craven 2008, An Analysis of Active Learning Strategies, EMNLP (information density, with the
        margin as uncertainty).
    """
    ordered = np.sort(probabilities, axis=1)
    margin = ordered[:, -1] - ordered[:, -2] if probabilities.shape[1] > 1 else np.ones(len(probabilities))
    unit = _unit(features - features.mean(axis=0))
    density = _density(features, seed=seed)
    score = (1 - margin) * density
    left = score.copy()
    found = []
    for _ in range(min(count, len(score))):
        best = int(left.argmax())
        found.append(
            LabelCandidate(
                index=best, score=float(left[best]), margin=float(margin[best]), density=float(density[best])
            )
        )
        left *= 1 - np.clip(unit @ unit[best], 0, 1)
        left[best] = -1.0
    return found


def _density(features: Matrix, *, seed: int) -> Matrix:
    """N: mean cosine with the nearest other images, in [0, 1]."""
    count = len(features)
    drawn = np.random.default_rng(seed).permutation(count)[:_REFERENCE]
    reference: Labels = np.sort(drawn)
    k = min(_NEIGHBOURS, count - 1)
    if k < 1:
        return np.ones(count)
    cosines, neighbours = nearest(features[reference], features, k + 1)
    itself = reference[neighbours] == np.arange(count)[:, None]
    itself[~itself.any(axis=1), -1] = True  # not among them, or behind its own copies: the farthest goes
    mean = np.where(itself, 0.0, cosines).sum(axis=1) / k
    return np.asarray((1 + mean.clip(-1, 1)) / 2)


def _unit(x: Matrix) -> Matrix:
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return np.asarray(x / np.where(length > 0, length, 1.0))
