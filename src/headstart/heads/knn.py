"""The k nearest training images by cosine of centred features: a baseline that trains nothing, and shows likeness."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headstart.features.matrix import FeatureView

Matrix = NDArray[np.float64]

NEIGHBOURS = 20  # as in DINO's evaluation (Caron et al. 2021); fewer when the smallest class has fewer images
TEMPERATURE = 0.07  # same source: a neighbour 0.07 less alike counts e times less


def nearest(train: FeatureView, queries: FeatureView, k: int) -> tuple[Matrix, NDArray[np.int64]]:
    """Cosines and rows of the k training images most alike, best first, M×k each.

    Features are centred at the training mean before they are scaled to unit length: what follows a ReLU shares a large
    mean, which would make all images look alike.
    """
    count, width = train.shape
    mean = sum((x.sum(axis=0) for _, x in train.blocks()), np.zeros(width)) / max(count, 1)
    best = np.full((queries.shape[0], k), -np.inf)
    rows = np.zeros((queries.shape[0], k), dtype=np.int64)
    asked = [(part, _unit(x - mean)) for part, x in queries.blocks()]
    for train_part, x in train.blocks():
        known = _unit(x - mean)
        for part, query in asked:
            cosines = np.concatenate([best[part], query @ known.T], axis=1)
            numbers = np.arange(train_part.start, train_part.stop)
            candidates = np.concatenate([rows[part], np.broadcast_to(numbers, (len(query), len(numbers)))], axis=1)
            order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
            best[part] = np.take_along_axis(cosines, order, axis=1)
            rows[part] = np.take_along_axis(candidates, order, axis=1)
    return best, rows


def vote(cosines: Matrix, neighbour_labels: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """The class with the largest sum of exp(cosine / 0.07) among the neighbours, M."""
    weights = np.exp((cosines - cosines[:, :1]) / TEMPERATURE)
    votes = np.zeros((len(cosines), classes))
    np.add.at(votes, (np.arange(len(cosines))[:, None], neighbour_labels), weights)
    winner: NDArray[np.int64] = votes.argmax(axis=1)
    return winner


def predict_neighbours(
    train: FeatureView, labels: NDArray[np.int64], queries: FeatureView, classes: int
) -> tuple[NDArray[np.int64], int]:
    """Predicted class of each query (M), and the k that was used."""
    smallest = int(np.bincount(labels, minlength=classes).min())
    k = max(1, min(NEIGHBOURS, smallest))
    cosines, rows = nearest(train, queries, k)
    return vote(cosines, labels[rows], classes), k


def _unit(x: Matrix) -> Matrix:
    length = np.sqrt(np.square(x).sum(axis=1, keepdims=True))
    return x / np.where(length > 0, length, 1.0)
