"""Neighbourhoods in features: the k images most alike to each, and how pure they are by class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.inspection.wording import many, percent

Matrix = NDArray[np.float64]
Numbers = NDArray[np.int64]

_DRAWS = 1000  # bootstrap over images


@dataclass(frozen=True)
class Mixing:
    """How often the neighbours of one class's images belong to a class.

    Args:
        k: neighbours asked of each image: in a small class as many as others of its class there are.
        share: of the neighbours. low, high: 95 % interval by bootstrap over the images of the class.
        chance: that share if labels meant nothing.
    """

    of: int
    among: int
    k: int
    share: float
    low: float
    high: float
    chance: float

    @property
    def asked(self) -> str:
        """`10 nearest neighbours`."""
        return many(self.k, "nearest neighbour")

    @property
    def said(self) -> str:
        """The share with its interval, as in a reading."""
        return percent(self.share, self.low, self.high)


def mixing(rows: Numbers, labels: Numbers, seed: int) -> tuple[Mixing, ...]:
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
        own = labels[rows[labels == of]][:, : size - 1]  # n×k; asked for more, a class apart would seem to overlap
        draws = rng.integers(0, size, (_DRAWS, size))
        for among, others in several:
            shares = (own == among).mean(1)
            low, high = np.quantile(shares[draws].mean(1), (0.025, 0.975))
            chance = (others - (of == among)) / (len(labels) - 1)
            found.append(Mixing(of, among, own.shape[1], float(shares.mean()), float(low), float(high), chance))
    return tuple(found)


def purity(rows: Numbers, labels: Numbers) -> Matrix:
    """For each image the share of its neighbours that have its own class, N."""
    return np.asarray((labels[rows] == labels[:, None]).mean(1), dtype=np.float64)


def alone(labels: Numbers) -> Numbers:
    """Classes of one image."""
    classes, counts = np.unique(labels, return_counts=True)
    return np.asarray(classes[counts == 1], dtype=np.int64)


def strangers(rows: Numbers, labels: Numbers) -> Numbers:
    """Images none of whose neighbours is of their class, those alone in theirs left out."""
    return np.flatnonzero((purity(rows, labels) == 0) & ~np.isin(labels, alone(labels))).astype(np.int64)


def isolated(cosines: Matrix, most_off: float) -> Numbers:
    """Images whose mean cosine to their neighbours lies far below the others', the loneliest first.

    Args:
        most_off: robust deviations (1.4826 × median absolute deviation) below the median that are still usual.
    """
    alike = cosines.mean(1)
    off = np.median(alike) - alike
    spread = 1.4826 * np.median(np.abs(off))
    lonely = np.flatnonzero(off > most_off * max(float(spread), 1e-9))
    return lonely[np.argsort(-off[lonely], kind="stable")].astype(np.int64)
