"""Small made-up Features for the tests of this room."""

from __future__ import annotations

import numpy as np

from headstart.features.matrix import Features, FeatureView


def make_features(matrix: np.ndarray) -> Features:
    """Two stages, `early` and `late`, that halve the columns."""
    count, width = matrix.shape
    slices = {"early": (0, width // 2), "late": (width // 2, width)}
    names = tuple(f"{i}.png" for i in range(count))
    return Features(matrix.astype(np.float32), slices, names, tuple(f"{i:064x}" for i in range(count)))


def make_view(count: int, width: int, classes: int = 3, seed: int = 0) -> tuple[FeatureView, np.ndarray]:
    """Noisy clusters, one for each class, with their labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    features = make_features(rng.normal(size=(count, width)) + np.eye(classes, width)[labels])
    return features.view(np.arange(count), ("early", "late")), labels
