"""Ridge regression at one lambda whose rows are relabelled or dropped afterwards: exact, without solving it again.

In: labelled features and a lambda, decomposed once. Out: for any set of changes the head and its left-out scores, as a
new fit would give them, in products of N×k and D×k matrices for k changed rows.

With the hat matrix H = p pᵀ + B diag(d) Bᵀ of `ridge.py`, residuals r = (I - H) y and rows K:

    relabelled by Δ    r' = r + (I - H)_{·K} Δ              W' = W + A X_Kᵀ Δ
    dropped            e  = (I - H_KK)⁻¹ r_K                 W' = W - A X_Kᵀ e
                       r' = r + H_{·K} e                     H' = H + H_{·K} (I - H_KK)⁻¹ H_{K·}

Each answer starts from the decomposition and from all changes together, never from the last answer: without changes it
is the first head bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.heads.regularization_path import LabelledFeatures, Labels, Matrix
from headstart.heads.ridge import RidgeProblem, indicators


@dataclass(frozen=True)
class RevisedHead:
    """A ridge head after changes.

    Args:
        weight: D×C. bias: C.
        scores: N×C, each row's scores by the head that saw neither its group nor the dropped rows; NaN for those.
    """

    weight: Matrix
    bias: Matrix
    scores: Matrix


class RevisableRidge:
    """One decomposition, any changes.

    Args:
        data: unweighted rows. lambda_: stays as it is.

    Source: the block form of leave-one-out (Hastie, Tibshirani & Friedman 2009, section 7.10), applied twice.
    """

    def __init__(self, data: LabelledFeatures, lambda_: float) -> None:
        problem = RidgeProblem(data)
        basis, x = problem.basis, data.view.array()
        centred = x - basis.mean
        self.data, self.lambda_ = data, lambda_
        self._mean, self._target_mean = basis.mean, basis.target_mean
        self._rows: Matrix = centred @ basis.rows if basis.primal else basis.rows  # B, N×r
        self._shrink = basis.shrink(lambda_)
        vectors = basis.rows if basis.primal else centred.T @ basis.rows
        self._solver: Matrix = vectors / (basis.spectrum + lambda_)  # A Xᵀ = solver Bᵀ, D×r
        self._weight, _ = problem.head(lambda_)
        predicted = self._rows @ (self._shrink[:, None] * basis.targets) + basis.target_mean
        self._residual: Matrix = indicators(data.labels, data.classes) - predicted

    def revise(self, labels: Labels, kept: NDArray[np.bool_]) -> RevisedHead:
        """The head and the left-out scores with other labels, and without some rows.

        Args:
            labels: N. kept: N, False for a row that is dropped; at least one is kept.
        """
        weight, intercept, residual, count = self._weight, self._target_mean, self._residual, len(labels)
        changed, dropped = np.flatnonzero((labels != self.data.labels) & kept), np.flatnonzero(~kept)
        if len(changed):
            classes = self.data.classes
            step = indicators(labels[changed], classes) - indicators(self.data.labels[changed], classes)
            residual = residual - self._hat(changed) @ step
            residual[changed] += step
            weight = weight + self._solver @ (self._rows[changed].T @ step)
            intercept = intercept + step.sum(axis=0) / count
        across, correction = np.zeros((count, 0)), np.zeros((0, count))
        if len(dropped):
            across = self._hat(dropped)  # N×k
            inner = np.eye(len(dropped)) - across[dropped]
            error = np.linalg.solve(inner, residual[dropped])
            correction = np.linalg.solve(inner, across.T).astype(np.float64, copy=False)  # k×N
            residual = residual + across @ error
            weight = weight - self._solver @ (self._rows[dropped].T @ error)
            intercept = intercept - error.sum(axis=0) / count
        scores = self._left_out(labels, kept, residual=residual, across=across, correction=correction)
        return RevisedHead(weight, intercept - self._mean @ weight, scores)

    def _hat(self, columns: Labels) -> Matrix:
        """H_{·K}, N×k."""
        hat: Matrix = self._rows @ (self._shrink[:, None] * self._rows[columns].T) + 1 / len(self._rows)
        return hat

    def _left_out(
        self, labels: Labels, kept: NDArray[np.bool_], *, residual: Matrix, across: Matrix, correction: Matrix
    ) -> Matrix:
        """(I - H'_GG)⁻¹ r_G of every group, as scores."""
        groups, targets = self.data.groups, indicators(labels, self.data.classes)
        left = np.full_like(residual, np.nan)
        sizes = np.bincount(groups[kept], minlength=int(groups.max()) + 1)
        alone = np.flatnonzero(kept & (sizes[groups] == 1))
        leverage = np.square(self._rows[alone]) @ self._shrink + 1 / len(kept)
        leverage += (across[alone] * correction[:, alone].T).sum(axis=1)
        left[alone] = residual[alone] / (1 - leverage)[:, None]
        for group in np.flatnonzero(sizes > 1):
            rows = np.flatnonzero(kept & (groups == group))
            block = (self._rows[rows] * self._shrink) @ self._rows[rows].T + 1 / len(kept)
            block += across[rows] @ correction[:, rows]
            left[rows] = np.linalg.solve(np.eye(len(rows)) - block, residual[rows])
        return targets - left
