"""Neighbourhoods in features: the k nearest images of each, overlaps of classes, outliers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.evaluation.intervals import Interval

Matrix = NDArray[np.float64]
Numbers = NDArray[np.int64]

_DRAWS = 1000  # bootstrap over images


@dataclass(frozen=True)
class Overlap:
    """How often the neighbours of the images of class `of` belong to class `among`.

    Args:
        k: neighbours of each image that count; in a small class as many as it has other images.
        share: of the neighbours, with a 95 % interval by bootstrap over the images of the class.
        chance: that share for random labels.
    """

    of: int
    among: int
    k: int
    share: Interval
    chance: float


def class_overlaps(rows: Numbers, labels: Numbers, seed: int) -> tuple[Overlap, ...]:
    """For each ordered pair of classes: what share of the neighbours of the one belongs to the other.

    Classes of one image are left out: they have no neighbour of their own.

    Args:
        rows: N×k neighbours of each image. labels: N.
    """
    rng = np.random.default_rng(seed)
    classes, counts = np.unique(labels, return_counts=True)
    several = list(zip(classes[counts > 1].tolist(), counts[counts > 1].tolist(), strict=True))
    found = []
    for of, size in several:
        own = labels[rows[labels == of]][:, : size - 1]  # n×k; with more, a separate class would seem to overlap
        draws = rng.integers(0, size, (_DRAWS, size))
        for among, others in several:
            shares = (own == among).mean(1)
            low, high = np.quantile(shares[draws].mean(1), (0.025, 0.975))
            share = Interval(float(shares.mean()), float(low), float(high), n=size, method="bootstrap over images")
            chance = (others - (of == among)) / (len(labels) - 1)
            found.append(Overlap(of, among, k=own.shape[1], share=share, chance=chance))
    return tuple(found)


def purity(rows: Numbers, labels: Numbers) -> Matrix:
    """For each image the share of its neighbours that have its own class, N."""
    return np.asarray((labels[rows] == labels[:, None]).mean(1), dtype=np.float64)


def singletons(labels: Numbers) -> Numbers:
    """Classes of one image."""
    classes, counts = np.unique(labels, return_counts=True)
    return np.asarray(classes[counts == 1], dtype=np.int64)


def class_outliers(rows: Numbers, labels: Numbers) -> Numbers:
    """Images without a neighbour of their own class; classes of one image are left out."""
    return np.flatnonzero((purity(rows, labels) == 0) & ~np.isin(labels, singletons(labels))).astype(np.int64)


def outliers(cosines: Matrix, deviations: float) -> Numbers:
    """Images whose mean cosine to their neighbours is far below the others', the farthest first.

    Args:
        deviations: robust deviations (1.4826 × median absolute deviation) below the median from which it is far.
    """
    similarity = cosines.mean(1)
    below = np.median(similarity) - similarity
    spread = 1.4826 * np.median(np.abs(below))
    found = np.flatnonzero(below > deviations * max(float(spread), 1e-9))
    return found[np.argsort(-below[found], kind="stable")].astype(np.int64)
