"""Transferability scores: how well features suit labels, from one decomposition and no held-out image.

In: features N×D and N labels. Out: LogME, the evidence of a Bayesian linear model; the regularised H-score, a ratio of
variances. Both are right for D > N, the usual case for a folder of a few hundred photographs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.errors import DataError

Matrix = NDArray[np.float64]
Labels = NDArray[np.int64]

_ROUNDS, _TOLERANCE, _FLOOR = 100, 1e-3, 1e-5  # as the authors' code: more rounds change the fourth digit at most
_RANGE = 1e6  # of alpha / beta around the mean eigenvalue: without signal it would grow for ever, at N ≤ D fall to 0


@dataclass(frozen=True)
class Evidence:
    """The evidence of one Bayesian linear regression, and the precisions that maximise it.

    Args:
        value: log evidence of the targets, divided by N.
        alpha: precision of the prior of the weights. beta: precision of the noise.
    """

    value: float
    alpha: float
    beta: float


@dataclass(frozen=True)
class _Spectrum:
    """Centred features as U diag(√σ) Vᵀ: their left singular vectors N×k and k squared singular values."""

    left: Matrix
    squared: Matrix

    @classmethod
    def of(cls, features: Matrix) -> _Spectrum:
        centred = features - features.mean(axis=0)
        left, singular, _ = np.linalg.svd(centred, full_matrices=False)
        kept = singular > 1e-10 * max(float(singular[0]), 1e-300)  # centring alone takes one of N ≤ D away
        return cls(left[:, kept], np.square(singular[kept]))


def log_evidences(features: Matrix, targets: Matrix) -> list[Evidence]:
    """The evidence of each column of targets under t = F w + noise, w ~ N(0, 1/alpha), noise ~ N(0, 1/beta).

    Features and targets are centred first, for the model has no bias.

    Args:
        features: N×D. targets: N×C.

    Raises:
        DataError: all features are the same for every image, or the numbers of rows differ.

    Source: You et al. 2021, LogME, arXiv:2102.11005. The evidence sums over the k ≤ min(N, D) directions of the
        features; the code published with the paper counts D of them in one term, which is wrong for D > N.
    """
    spectrum = _spectrum(features, len(targets))
    return [_evidence(spectrum, column) for column in (targets - targets.mean(axis=0)).T]


def logme(features: Matrix, labels: Labels, classes: int) -> float:
    """Logarithm of maximum evidence: the mean over classes of `log_evidences` of their 0/1 indicators; more is better.

    Args:
        features: N×D. labels: N, in [0, classes).

    Raises:
        DataError: as `log_evidences`.
    """
    targets = (labels[:, None] == np.arange(classes)).astype(np.float64)
    return float(np.mean([one.value for one in log_evidences(features, targets)]))


def h_score(features: Matrix, labels: Labels) -> float:
    """Regularised H-score: variance of the class means relative to a shrunk covariance; at most C - 1, more is better.

    Args:
        features: N×D. labels: N.

    Raises:
        DataError: all features are the same for every image, or the numbers of rows differ.

    Source: Bao et al. 2019, An Information-Theoretic Approach to Transferability, ICIP; regularised by Ibrahim et al.
        2021, arXiv:2110.06893: Ledoit and Wolf's covariance, the score times one minus its shrinkage.
    """
    spectrum, n, width = _spectrum(features, len(labels)), len(labels), features.shape[1]
    mean_variance = float(spectrum.squared.sum()) / n / width
    shrinkage = _ledoit_wolf(features, spectrum.squared)
    variances = (1 - shrinkage) * spectrum.squared / n + shrinkage * mean_variance  # of the k directions
    between = np.zeros(len(variances))
    for label in np.unique(labels):
        rows = labels == label
        between += rows.mean() * np.square(spectrum.left[rows].mean(axis=0)) * spectrum.squared
    return (1 - shrinkage) * float((between / variances).sum())


def _spectrum(features: Matrix, count: int) -> _Spectrum:
    spectrum = _Spectrum.of(np.asarray(features, dtype=np.float64)) if len(features) == count and count else None
    if spectrum is None or not spectrum.squared.any():
        found = "the same features for every image" if spectrum else f"{len(features)} rows for {count} images"
        raise DataError(expected="features that differ between images, one row each", found=found)
    return spectrum


def _evidence(spectrum: _Spectrum, target: Matrix) -> Evidence:
    """The fixed point of alpha and beta for one centred target."""
    squared, n = spectrum.squared, len(target)
    inside = np.square(spectrum.left.T @ target)  # k
    outside = max(float(target @ target - inside.sum()), 0.0)
    low, high = squared.mean() / _RANGE, squared.mean() * _RANGE

    def precisions(ratio: float) -> tuple[float, float, float, float]:
        """alpha, beta, |w|² and the squared residual at a ratio alpha / beta."""
        freedom = float((squared / (squared + ratio)).sum())
        weight = float((squared * inside / np.square(squared + ratio)).sum())
        residual = float((inside * ratio**2 / np.square(squared + ratio)).sum()) + outside
        return freedom / (weight + _FLOOR), (n - freedom) / (residual + _FLOOR), weight, residual

    ratio = float(np.clip(1.0, low, high))
    for _ in range(_ROUNDS):
        alpha, beta, _, _ = precisions(ratio)
        before, ratio = ratio, float(np.clip(alpha / beta, low, high))
        if abs(ratio - before) <= _TOLERANCE * before:
            break
    _, beta, weight, residual = precisions(ratio)
    alpha = ratio * beta  # the evidence below holds for any pair, but only where all of it is at one ratio
    total = (
        len(squared) * math.log(alpha)
        + n * math.log(beta / (2 * math.pi))
        - float(np.log(alpha + beta * squared).sum())
        - beta * residual
        - alpha * weight
    )
    return Evidence(total / 2 / n, alpha, beta)


def _ledoit_wolf(features: Matrix, squared: Matrix) -> float:
    """Ledoit and Wolf's shrinkage of the covariance towards its mean variance, in [0, 1], from the spectrum alone.

    Source: Ledoit and Wolf 2004, Journal of Multivariate Analysis 88:365.
    """
    n, width = features.shape
    centred = features - features.mean(axis=0)
    lengths = np.square(centred).sum(axis=1)  # N
    covariance = float(np.square(squared).sum()) / n**2  # squared Frobenius norm
    mean = float(lengths.sum()) / n / width
    distance = covariance / width - mean**2
    noise = (float(np.square(lengths).sum()) / n - covariance) / n / width
    return 1.0 if distance <= 0 else min(1.0, noise / distance)
