"""Literal, slow forms of the unbiased HSIC: the sum over tuples of distinct indices, and the matrix formula."""

from __future__ import annotations

from itertools import permutations

import numpy as np


def hsic_by_tuples(k: np.ndarray, l: np.ndarray) -> float:  # noqa: E741
    """Song et al. 2012, equation 4: mean over all distinct i, j, q, r of K_ij (L_ij + L_qr - 2 L_iq)."""
    total, count = 0.0, 0
    for i, j, q, r in permutations(range(len(k)), 4):
        total += k[i, j] * (l[i, j] + l[q, r] - 2 * l[i, q])
        count += 1
    return total / count


def hsic_by_matrices(k: np.ndarray, l: np.ndarray) -> float:  # noqa: E741
    """[tr(KL) + (1'K1)(1'L1)/((n-1)(n-2)) - 2/(n-2) 1'KL1] / (n(n-3)), zero diagonals (methods 3.6)."""
    n, one = len(k), np.ones(len(k))
    whole = np.trace(k @ l) + (one @ k @ one) * (one @ l @ one) / ((n - 1) * (n - 2))
    return (whole - 2 / (n - 2) * (one @ k @ l @ one)) / (n * (n - 3))
