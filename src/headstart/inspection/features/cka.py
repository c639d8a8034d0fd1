"""Debiased linear CKA: similarity of two sets of features of the same images, up to rotation and scale."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

LEAST = 4  # images; the estimator divides by n - 3


def gram(features: Matrix) -> Matrix:
    """N×N inner products of N×D features with a zero diagonal, as the unbiased estimator needs them."""
    centred = features - features.mean(0)  # changes nothing in exact arithmetic; keeps large means out of the sums
    products = centred @ centred.T
    np.fill_diagonal(products, 0.0)
    return np.asarray(products, dtype=np.float64)


def hsic(k: Matrix, l: Matrix) -> float:  # noqa: E741  # the paper's letters
    """Unbiased Hilbert-Schmidt independence criterion of two Gram matrices with zero diagonals, n of 4 or more.

    Source: Song et al. 2012, Feature Selection via Dependence Maximization, JMLR 13, equation 5.
    """
    n = len(k)
    trace = float((k * l).sum())  # of K L, both symmetric
    ones = float(k.sum()) * float(l.sum()) / ((n - 1) * (n - 2))
    rows = 2.0 / (n - 2) * float(k.sum(0) @ l.sum(0))
    return (trace + ones - rows) / (n * (n - 3))


def cka(k: Matrix, l: Matrix) -> float:  # noqa: E741
    """Debiased CKA of two Gram matrices: 1 for the same features up to rotation and scale, 0 on average for unrelated.

    Without the correction unrelated features seem similar: 100 images of 512 random numbers give 0.84, debiased 0.03.
    The debiased value may be below 0. nan where all images have the same features.

    Source: Kornblith et al. 2019, arXiv:1905.00414; debiased as Nguyen et al. 2021, arXiv:2010.15327, equation 3.
    """
    own = hsic(k, k) * hsic(l, l)
    return hsic(k, l) / math.sqrt(own) if own > 0 else float("nan")


def cka_with_error(x: Matrix, y: Matrix, *, halves: int = 40, seed: int = 0) -> tuple[float, float]:
    """Debiased CKA of features N×D and N×E, and its standard error from random halves of the images.

    A bootstrap would compare images with themselves, which the estimator excludes; the deviation of the values of
    random halves is that of the whole (delete-half jackknife: Shao and Wu 1989).
    """
    k, l = gram(x), gram(y)  # noqa: E741
    whole, half = cka(k, l), len(k) // 2
    if half < LEAST:
        return whole, float("nan")
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(halves):
        some = rng.permutation(len(k))[:half]
        values.append(cka(k[np.ix_(some, some)], l[np.ix_(some, some)]))
    return whole, float(np.sqrt(np.mean(np.square(np.array(values) - whole))))
