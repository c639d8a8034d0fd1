"""Ridge regression on class indicators: closed form, one eigendecomposition, exact leave-one-out for every strength.

In: a FeatureView and labels, optionally groups and weights of rows. Out: HeadPath, the whole path with its best point.

With √w-weighted rows X̃ (centred at the weighted mean), Ỹ and p = √w / ‖√w‖, the hat matrix of ridge with a free
intercept is  H(λ) = p pᵀ + B diag(d(λ)) Bᵀ.  One decomposition gives B and d for all λ:

    N ≥ D   X̃ᵀX̃ = V Λ Vᵀ    B = X̃ V    d = 1 / (Λ + λ)        memory D², rows pass in blocks
    N < D   X̃ X̃ᵀ = Q Λ Qᵀ    B = Q      d = Λ / (Λ + λ)        memory N²

Leaving out a set G of rows changes its residual to (I - H_GG)⁻¹ (Ỹ_G - Ŷ_G), exactly. The intercept is inside H: with
X centred on all rows and the intercept outside, a left-out row could be deduced from the others when N ≤ D.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.errors import DataError
from headstart.features.matrix import FeatureView
from headstart.heads.regularization_path import Labels, Matrix, RegularizationPath, Validation

# ten times the largest eigenvalue shrinks every direction, 1e-7 of it none; thirds of a decade between
RELATIVE_STRENGTHS: Matrix = np.logspace(1, -7, 25)


@dataclass(frozen=True)
class _Basis:
    """The decomposition: row blocks of B, the spectrum, and B's projection of the targets."""

    spectrum: Matrix  # k
    rows: Matrix  # D×D eigenvectors V when primal, N×N Q when dual
    targets: Matrix  # k×C, Bᵀ Ỹ
    mean: Matrix  # D
    target_mean: Matrix  # C
    primal: bool

    def shrink(self, strength: float) -> Matrix:
        """d(λ), k."""
        top = 1.0 if self.primal else self.spectrum
        return top / (self.spectrum + strength)


def solve_ridge(
    view: FeatureView,
    labels: Labels,
    classes: int,
    *,
    groups: Labels | None = None,
    weights: Matrix | None = None,
    validation: Validation | None = None,
) -> RegularizationPath:
    """Solve ridge for every strength and choose the one with the smallest held-out squared error.

    Args:
        view: N×D rows; they are read in blocks, memory stays at a few D² or N².
        labels: N, class indices in [0, classes).
        groups: N, rows with the same number are left out together; None leaves out one at a time.
        weights: N, positive weight of each row; None weighs all the same.
        validation: rows that choose instead of the left-out ones.

    Raises:
        DataError: labels do not fit the view, or fewer than two groups are there to leave out.

    Source: Hastie, Tibshirani & Friedman 2009, section 7.10 (leave-one-out of linear smoothers); the block form is the
        same algebra for a set of rows. We choose by squared error, which was steadier than accuracy on six real sets.
    """
    count, _ = view.shape
    groups = np.arange(count) if groups is None else np.unique(groups, return_inverse=True)[1].astype(np.int64)
    sets = len(np.unique(groups))
    if len(labels) != count or sets < 2:
        raise DataError(
            expected="a label for every row, and at least two groups of rows to leave out in turn",
            found=f"{len(labels)} labels, {count} rows, {sets} groups",
            hint="Use more images, or --group-by none.",
        )
    weights = np.ones(count) if weights is None else np.asarray(weights, dtype=np.float64)
    order = np.argsort(groups, kind="stable")  # groups become runs, so that blocks never cut one
    rows = _Rows(view.take(order), labels[order], groups[order], weights[order], classes)
    basis = rows.decompose()
    strengths = RELATIVE_STRENGTHS * max(float(basis.spectrum.max()), 1e-12)
    if validation is not None:
        return _chosen_by(validation, rows, basis, strengths)
    losses, accuracies = rows.leave_out(basis, strengths)
    best = int(np.argmin(losses))
    held_scores = np.empty((count, classes))
    held_scores[order] = rows.scores(basis, strengths[best])
    weight, bias = rows.head(basis, strengths[best])
    told = "leaving out one image at a time" if sets == count else f"leaving out one of {sets} groups at a time"
    return RegularizationPath(strengths, losses, accuracies, best, weight, bias, held_scores, labels, told)


def _chosen_by(validation: Validation, rows: _Rows, basis: _Basis, strengths: Matrix) -> RegularizationPath:
    heads = [rows.head(basis, strength) for strength in strengths]
    x = validation.view.array()
    scores = [x @ weight + bias for weight, bias in heads]
    targets = indicators(validation.labels, rows.classes)
    losses = np.array([np.square(held - targets).mean() for held in scores])
    accuracies = np.array([(held.argmax(axis=1) == validation.labels).mean() for held in scores])
    best = int(np.argmin(losses))
    told = f"on {len(x)} validation images"
    return RegularizationPath(strengths, losses, accuracies, best, *heads[best], scores[best], validation.labels, told)


def indicators(labels: Labels, classes: int) -> Matrix:
    """n×C targets, +1 for the label and -1 elsewhere."""
    return np.where(labels[:, None] == np.arange(classes), 1.0, -1.0)


@dataclass(frozen=True)
class _Rows:
    """Rows sorted by group, with everything that is needed of each."""

    view: FeatureView
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    weights: Matrix
    classes: int

    def indicators(self, part: slice | NDArray[np.int64]) -> Matrix:
        """n×C targets of some rows."""
        return indicators(self.labels[part], self.classes)

    def decompose(self) -> _Basis:
        """One pass for the means, one for the products, one eigendecomposition."""
        count, width = self.view.shape
        total = self.weights.sum()
        mean = sum((self.weights[part] @ x for part, x in self.view.blocks()), np.zeros(width)) / total
        target_mean: Matrix = self.weights @ self.indicators(slice(None)) / total
        if count >= width:
            gram, cross = np.zeros((width, width)), np.zeros((width, self.classes))
            for part, x in self.view.blocks():
                centred = x - mean
                weighted = centred * self.weights[part, None]
                gram += weighted.T @ centred
                cross += weighted.T @ (self.indicators(part) - target_mean)
            spectrum, vectors = np.linalg.eigh(gram)
            return _Basis(spectrum.clip(0), vectors, vectors.T @ cross, mean, target_mean, primal=True)
        centred = self._centred(mean)
        spectrum, vectors = np.linalg.eigh(centred @ centred.T)
        targets = np.sqrt(self.weights)[:, None] * (self.indicators(slice(None)) - target_mean)
        return _Basis(spectrum.clip(0), vectors, vectors.T @ targets, mean, target_mean, primal=False)

    def _centred(self, mean: Matrix) -> Matrix:
        x = np.concatenate([x for _, x in self.view.blocks()])
        return (x - mean) * np.sqrt(self.weights)[:, None]

    def head(self, basis: _Basis, strength: float) -> tuple[Matrix, Matrix]:
        """D×C weight and C bias at one strength."""
        solved: Matrix = basis.rows @ (basis.targets / (basis.spectrum + strength)[:, None])
        weight = solved if basis.primal else self._centred(basis.mean).T @ solved
        return weight, basis.target_mean - basis.mean @ weight

    def _blocks(self, basis: _Basis) -> Iterator[tuple[NDArray[np.int64], Matrix, Matrix]]:
        """Rows of B and of Ỹ - p pᵀ Ỹ in blocks that hold whole groups."""
        starts = np.flatnonzero(np.diff(self.groups, prepend=-1))
        for part, x in self.view.blocks(starts):
            root = np.sqrt(self.weights[part])[:, None]
            z = (x - basis.mean) * root @ basis.rows if basis.primal else basis.rows[part]
            yield np.arange(len(self.labels))[part], z, root * (self.indicators(part) - basis.target_mean)

    def leave_out(self, basis: _Basis, strengths: Matrix) -> tuple[Matrix, Matrix]:
        """K mean squared errors and K accuracies of the left-out rows."""
        errors, right = np.zeros(len(strengths)), np.zeros(len(strengths))
        for part, z, targets in self._blocks(basis):
            for k, strength in enumerate(strengths):
                residual = self._left_out_residual(basis, strength, part, z, targets)
                errors[k] += np.square(residual).sum()
                right[k] += (self._predicted(part, residual).argmax(axis=1) == self.labels[part]).sum()
        return errors / (self.weights.sum() * self.classes), right / len(self.labels)

    def scores(self, basis: _Basis, strength: float) -> Matrix:
        """N×C left-out predictions at one strength."""
        out = np.empty((len(self.labels), self.classes))
        for part, z, targets in self._blocks(basis):
            out[part] = self._predicted(part, self._left_out_residual(basis, strength, part, z, targets))
        return out

    def _predicted(self, part: NDArray[np.int64], residual: Matrix) -> Matrix:
        return self.indicators(part) - residual / np.sqrt(self.weights[part])[:, None]

    def _left_out_residual(
        self, basis: _Basis, strength: float, part: NDArray[np.int64], z: Matrix, targets: Matrix
    ) -> Matrix:
        """(I - H_GG)⁻¹ r_G for every group G of the block, n×C."""
        shrink = basis.shrink(strength)
        residual: Matrix = targets - z @ (shrink[:, None] * basis.targets)  # Ỹ - Ŷ
        p = np.sqrt(self.weights[part] / self.weights.sum())
        groups = self.groups[part]
        starts = np.flatnonzero(np.diff(groups, prepend=-1))
        sizes = np.diff(starts, append=len(groups))
        alone = starts[sizes == 1]
        leverage = np.square(p[alone]) + np.square(z[alone]) @ shrink
        residual[alone] /= (1 - leverage)[:, None]
        for start, size in zip(starts[sizes > 1], sizes[sizes > 1], strict=True):
            group = slice(start, start + size)
            u = np.concatenate([p[group, None], z[group] * np.sqrt(shrink)], axis=1)  # H_GG = u uᵀ
            residual[group] = _solve_left_out(u, residual[group])
        return residual


def _solve_left_out(u: Matrix, residual: Matrix) -> Matrix:
    """(I - u uᵀ)⁻¹ r, in the smaller of its two sizes."""
    size, rank = u.shape
    if size <= rank:
        return np.linalg.solve(np.eye(size) - u @ u.T, residual)
    update: Matrix = u @ np.linalg.solve(np.eye(rank) - u.T @ u, u.T @ residual)
    return residual + update
