"""Metrics: pure functions of probabilities N×C and labels N.

The predicted class is the most probable, ties to the first. Inputs are checked once, in the public functions; classes
without test images are left out of every average over classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.errors import DataError

Labels = NDArray[np.int64]
Values = NDArray[np.float64]

SUM_TOLERANCE = 1e-3  # float16 softmax over 1000 classes strays by some 1e-4; logits passed by mistake by far more


def checked(probabilities: ArrayLike, labels: ArrayLike) -> tuple[Values, Labels]:
    """Probabilities N×C as float64 and labels N as int64, with shapes, ranges and sums checked.

    Raises:
        DataError: N is 0 or differs, C < 2, a value is not finite or not in [0, 1], a row does not sum to 1, or a label
            is no whole number in [0, C).
    """
    p = np.asarray(probabilities, dtype=np.float64)
    if p.ndim != 2 or p.shape[0] < 1 or p.shape[1] < 2:
        raise DataError(expected="probabilities N×C with N >= 1 and C >= 2", found=f"shape {p.shape}")
    if not np.isfinite(p).all():
        raise DataError(expected="finite probabilities", found=f"{(~np.isfinite(p)).sum()} that are nan or infinite")
    stray = float(np.abs(p.sum(axis=1) - 1).max())
    if p.min() < 0 or p.max() > 1 + SUM_TOLERANCE or stray > SUM_TOLERANCE:
        found = f"values from {p.min():.4g} to {p.max():.4g} and row sums off by up to {stray:.4g}"
        hint = "Apply softmax to logits."
        raise DataError(expected="probabilities in [0, 1], rows that sum to 1", found=found, hint=hint)
    return p, checked_labels(labels, *p.shape)


def checked_labels(labels: ArrayLike, n: int, classes: int) -> Labels:
    """Labels as int64, one for each of n images, each in [0, classes).

    Raises:
        DataError: the shape is not (n,), or a label is no whole number in range.
    """
    y = np.asarray(labels)
    if y.shape != (n,) or y.dtype.kind not in "iu":
        raise DataError(expected=f"{n} whole-number labels", found=f"{y.dtype} of shape {y.shape}")
    if y.min() < 0 or y.max() >= classes:
        raise DataError(expected=f"labels from 0 to {classes - 1}", found=f"labels from {y.min()} to {y.max()}")
    return y.astype(np.int64)


def accuracy(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Share of images whose most probable class is the true one, in [0, 1].

    Raises:
        DataError: as in `checked`.
    """
    p, y = checked(probabilities, labels)
    return float((p.argmax(axis=1) == y).mean())


def confusion_matrix(probabilities: ArrayLike, labels: ArrayLike) -> Labels:
    """How many images of each class (row, C) were predicted as each class (column, C).

    Raises:
        DataError: as in `checked`.
    """
    p, y = checked(probabilities, labels)
    return confusion_of(p.argmax(axis=1), y, p.shape[1])


def confusion_of(predicted: Labels, labels: Labels, classes: int) -> Labels:
    """Confusion matrix C×C of predicted labels, unchecked: rows are the true classes."""
    pairs = np.bincount(labels * classes + predicted, minlength=classes * classes)
    return pairs.reshape(classes, classes).astype(np.int64)  # C×C


def recall_of(confusion: Labels) -> Values:
    """Share of each class's images that were found, C; nan for a class without test images."""
    return _ratio(np.diag(confusion), confusion.sum(axis=1))


def precision_of(confusion: Labels) -> Values:
    """Share of the images predicted as each class that belong to it, C; nan for a class that was never predicted."""
    return _ratio(np.diag(confusion), confusion.sum(axis=0))


def f1_of(confusion: Labels) -> Values:
    """Harmonic mean of recall and precision, C: 2 TP / (images of it + predictions of it); nan where both are 0."""
    return _ratio(2 * np.diag(confusion), confusion.sum(axis=0) + confusion.sum(axis=1))


def balanced_accuracy(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Mean of the recalls of the classes that have test images: each class counts the same, however large.

    Raises:
        DataError: as in `checked`.
    """
    return float(np.nanmean(recall_of(confusion_matrix(probabilities, labels))))


def macro_f1(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Mean F1 of the classes that have test images.

    scikit-learn also averages classes that were only predicted, never true; here such errors lower the true class only.

    Raises:
        DataError: as in `checked`.
    """
    confusion = confusion_matrix(probabilities, labels)
    return float(f1_of(confusion)[confusion.sum(axis=1) > 0].mean())


def negative_log_likelihood(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Mean of -log of the true class's probability, in nats; below 2.2e-16 it counts as that, to stay finite.

    Raises:
        DataError: as in `checked`.
    """
    p, y = checked(probabilities, labels)
    of_truth = p[np.arange(len(y)), y]
    return float(-np.log(np.clip(of_truth, np.finfo(np.float64).eps, 1.0)).mean())


def brier_score(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Mean over images of the squared distance between the probabilities and the truth, summed over classes, in [0, 2].

    Raises:
        DataError: as in `checked`.

    Source: Brier 1950, Monthly Weather Review 78:1, the original form; with two classes it is twice the half form that
    many tools print.
    """
    p, y = checked(probabilities, labels)
    truth = np.eye(p.shape[1])[y]  # N×C
    return float(((p - truth) ** 2).sum(axis=1).mean())


def _ratio(counts: Labels, totals: Labels) -> Values:
    """Count by total per class, nan where the total is 0."""
    return np.asarray(np.divide(counts, totals, out=np.full(len(counts), np.nan), where=totals > 0))
