"""Ridge regression on class indicators: closed form, one eigendecomposition, exact leave-one-group-out for each lambda.

In: labelled features. Out: RegularizationPath, the whole path with its best point.

With √w-weighted rows X̃ (centred at the weighted mean), Ỹ and p = √w / ‖√w‖, the hat matrix of ridge with a free
intercept is  H(λ) = p pᵀ + B diag(d(λ)) Bᵀ.  One decomposition gives B and d for all λ:

    N ≥ D   X̃ᵀX̃ = V Λ Vᵀ    B = X̃ V    d = 1 / (Λ + λ)        memory D², rows pass in blocks
    N < D   X̃ X̃ᵀ = Q Λ Qᵀ    B = Q      d = Λ / (Λ + λ)        memory N²

Leaving out a set G of rows changes its residual to (I - H_GG)⁻¹ (Ỹ_G - Ŷ_G), exactly. The intercept is inside H: with
X centred on all rows and the intercept outside, a left-out row could be deduced from the others when N ≤ D.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from headstart.heads.regularization_path import (
    LabelledFeatures,
    Labels,
    Matrix,
    PathSolver,
    RegularizationPath,
    Validation,
    left_out_one,
)
from headstart.progress import OnProgress, no_progress

# ten times the largest eigenvalue shrinks every direction, 1e-7 of it none; thirds of a decade between
RELATIVE_LAMBDAS: Matrix = np.logspace(1, -7, 25)
_COLUMNS = 256  # of one product: below, reading the matrix takes longer than multiplying it; 2 MB for a block of rows


def solve_ridge(
    data: LabelledFeatures, *, validation: Validation | None = None, progress: OnProgress = no_progress
) -> RegularizationPath:
    """Solve ridge for every lambda and choose the one with the smallest held-out squared error.

    Args:
        data: its rows are read in blocks, memory stays at a few D² or N².
        validation: rows that choose instead of the left-out ones.
        progress: called with (rows done, rows to do), those of each lambda counted.

    Source: Hastie, Tibshirani & Friedman 2009, section 7.10 (leave-one-out of linear smoothers); the block form is the
        same algebra for a set of rows. We choose by squared error, which was steadier than accuracy on six real sets.
    """
    order = np.argsort(data.groups, kind="stable")  # groups become runs, so that blocks never cut one
    ridge = RidgeProblem(
        replace(
            data,
            view=data.view.take(order),
            labels=data.labels[order],
            groups=data.groups[order],
            weights=data.weights[order],
        ),
        progress,
    )
    lambdas = RELATIVE_LAMBDAS * max(float(ridge.basis.spectrum.max()), 1e-12)
    if validation is not None:
        return _chosen_by(validation, ridge, lambdas)
    losses, accuracies = ridge.leave_out(lambdas)
    best = int(np.argmin(losses))
    held_scores = np.empty((len(order), data.classes))
    held_scores[order] = ridge.left_out_scores(float(lambdas[best]))
    weight, bias = ridge.head(float(lambdas[best]))
    return RegularizationPath(
        lambdas=lambdas,
        losses=losses,
        accuracies=accuracies,
        best=best,
        weight=weight,
        bias=bias,
        held_scores=held_scores,
        held_labels=data.labels,
        held_out=left_out_one(data.groups),
        held_groups=data.groups,
    )


RIDGE = PathSolver(solve_ridge)


def _chosen_by(validation: Validation, ridge: RidgeProblem, lambdas: Matrix) -> RegularizationPath:
    heads = [ridge.head(float(lambda_)) for lambda_ in lambdas]
    x = validation.view.array()
    scores = [x @ weight + bias for weight, bias in heads]
    targets = indicators(validation.labels, ridge.data.classes)
    weights = validation.weights
    losses = np.array([np.average(np.square(held - targets).mean(axis=1), weights=weights) for held in scores])
    best = int(np.argmin(losses))
    return RegularizationPath(
        lambdas=lambdas,
        losses=losses,
        accuracies=np.array([(held.argmax(axis=1) == validation.labels).mean() for held in scores]),
        best=best,
        weight=heads[best][0],
        bias=heads[best][1],
        held_scores=scores[best],
        held_labels=validation.labels,
        held_out=validation.held_out,
    )


def indicators(labels: Labels, classes: int) -> Matrix:
    """n×C targets, +1 for the label and -1 elsewhere."""
    return np.where(labels[:, None] == np.arange(classes), 1.0, -1.0)


@dataclass(frozen=True)
class RidgeBasis:
    """The decomposition: row blocks of B, the spectrum, and B's projection of the targets."""

    spectrum: Matrix  # k
    rows: Matrix  # D×D eigenvectors V when primal, N×N Q when dual
    targets: Matrix  # k×C, Bᵀ Ỹ
    mean: Matrix  # D
    target_mean: Matrix  # C
    primal: bool
    total: float  # sum of the weights of all rows

    def shrink(self, lambda_: float) -> Matrix:
        """d(λ), k."""
        return (1.0 if self.primal else self.spectrum) / (self.spectrum + lambda_)


@dataclass(frozen=True)
class _Block:
    """Some rows, whole groups."""

    rows: slice
    x: Matrix  # n×D, those of X̃ when primal; n×N, those of B when dual
    targets: Matrix  # n×C, those of Ỹ - p pᵀ Ỹ
    basis: RidgeBasis

    @cached_property
    def z(self) -> Matrix:
        """n×k, those of B: the dearest product of all, made only where it is needed."""
        return self.x @ self.basis.rows if self.basis.primal else self.x

    def fitted(self, lambda_: float) -> Matrix:
        """n×C, those of Ŷ - p pᵀ Ỹ at one lambda, without z."""
        solved = self.basis.shrink(lambda_)[:, None] * self.basis.targets
        return self.x @ (self.basis.rows @ solved) if self.basis.primal else self.x @ solved


@dataclass(frozen=True)
class RidgeProblem:
    """Ridge regression on rows sorted by group, decomposed once and solved at any lambda.

    Args:
        data: rows of one group side by side.
        given: the basis of more rows than these, a part of them; None: it is computed of these.
    """

    data: LabelledFeatures
    progress: OnProgress = no_progress
    given: RidgeBasis | None = None
    _leverages: dict[float, Matrix] = field(default_factory=dict, init=False)  # lambda → N, once they were needed

    @cached_property
    def basis(self) -> RidgeBasis:
        """One pass for the means, one for the products, one eigendecomposition."""
        if self.given is not None:
            return self.given
        data, (count, width) = self.data, self.data.view.shape
        total = data.weights.sum()
        mean = sum((data.weights[rows] @ x for rows, x in data.view.blocks()), np.zeros(width)) / total
        targets = indicators(data.labels, data.classes)
        target_mean: Matrix = data.weights @ targets / total
        targets -= target_mean
        if count < width:
            spectrum, vectors = _eigh_of_centred(self._centred(mean), np.sqrt(data.weights / total))
            projected = vectors.T @ (np.sqrt(data.weights)[:, None] * targets)
        else:
            gram, cross = np.zeros((width, width)), np.zeros((width, data.classes))
            for rows, x in data.view.blocks():
                root = np.sqrt(data.weights[rows])[:, None]
                x -= mean
                x *= root
                gram += x.T @ x  # of a matrix with itself BLAS computes one half
                cross += x.T @ (root * targets[rows])
                self._report(rows.stop)
            spectrum, vectors = np.linalg.eigh(gram)
            projected = vectors.T @ cross
        return RidgeBasis(
            spectrum=spectrum.clip(0),
            rows=vectors,
            targets=projected,
            mean=mean,
            target_mean=target_mean,
            primal=count >= width,
            total=float(total),
        )

    def head(self, lambda_: float) -> tuple[Matrix, Matrix]:
        """D×C weight and C bias at one lambda."""
        basis = self.basis
        solved: Matrix = basis.rows @ (basis.targets / (basis.spectrum + lambda_)[:, None])
        weight = solved if basis.primal else self._centred(basis.mean).T @ solved
        return weight, basis.target_mean - basis.mean @ weight

    def leave_out(self, lambdas: Matrix) -> tuple[Matrix, Matrix]:
        """K mean squared errors and K accuracies of the left-out rows."""
        errors, correct = self.left_out_sums(lambdas)
        return errors / (self.data.weights.sum() * self.data.classes), correct / len(self.data.labels)

    def left_out_sums(self, lambdas: Matrix) -> tuple[Matrix, Matrix]:
        """K sums of squared errors and K numbers of correct predictions of the left-out rows."""
        errors, correct = np.zeros(len(lambdas)), np.zeros(len(lambdas))
        leverages = np.empty((len(self.data.labels), len(lambdas)))  # N×K
        for block in self._blocks():
            rows = block.rows
            leverages[rows] = self._leverage(block, lambdas)
            for k, fitted in enumerate(self._fitted(block, lambdas)):
                residual = self._left_out_residual(block, lambdas[k], fitted=fitted, leverage=leverages[rows, k])
                errors[k] += np.square(residual).sum()
                correct[k] += (self._predicted(rows, residual).argmax(axis=1) == self.data.labels[rows]).sum()
                self._report(len(self.data.labels) + rows.start + (k + 1) * (rows.stop - rows.start) // len(lambdas))
        self._leverages.update(zip(map(float, lambdas), leverages.T, strict=True))
        return errors, correct

    def left_out_scores(self, lambda_: float) -> Matrix:
        """N×C left-out predictions at one lambda; cheap where its errors are known and no group has two rows."""
        out = np.empty((len(self.data.labels), self.data.classes))
        known = self._leverages.get(lambda_)
        for block in self._blocks():
            rows = block.rows
            leverage = self._leverage(block, np.array([lambda_]))[:, 0] if known is None else known[rows]
            residual = self._left_out_residual(block, lambda_, fitted=block.fitted(lambda_), leverage=leverage)
            out[rows] = self._predicted(rows, residual)
        return out

    def _report(self, rows: int) -> None:
        self.progress(rows, 2 * len(self.data.labels))  # one pass for the products, one to leave rows out

    def _centred(self, mean: Matrix) -> Matrix:
        return (self.data.view.array() - mean) * np.sqrt(self.data.weights)[:, None]

    def _blocks(self) -> Iterator[_Block]:
        data, basis = self.data, self.basis
        starts = np.flatnonzero(np.diff(data.groups, prepend=-1))
        for rows, x in data.view.blocks(starts):
            root = np.sqrt(data.weights[rows])[:, None]
            x = (x - basis.mean) * root if basis.primal else basis.rows[rows]
            yield _Block(rows, x, root * (indicators(data.labels[rows], data.classes) - basis.target_mean), basis)

    def _fitted(self, block: _Block, lambdas: Matrix) -> Iterator[Matrix]:
        """n×C of Ŷ - p pᵀ Ỹ for each lambda, several of few classes by one product."""
        basis, classes = self.basis, self.data.classes
        step = max(1, _COLUMNS // classes)
        for begin in range(0, len(lambdas), step):
            shrunk = [basis.shrink(lambda_)[:, None] * basis.targets for lambda_ in lambdas[begin : begin + step]]
            yield from np.split(block.z @ np.concatenate(shrunk, axis=1), len(shrunk), axis=1)

    def _leverage(self, block: _Block, lambdas: Matrix) -> Matrix:
        """n×K diagonal of H, for each lambda."""
        shrink = np.array([self.basis.shrink(lambda_) for lambda_ in lambdas])  # K×k
        own = self.data.weights[block.rows, None] / self.basis.total  # that of p pᵀ
        return np.asarray(own + np.square(block.z) @ shrink.T)

    def _predicted(self, rows: slice, residual: Matrix) -> Matrix:
        data = self.data
        return indicators(data.labels[rows], data.classes) - residual / np.sqrt(data.weights[rows])[:, None]

    def _left_out_residual(self, block: _Block, lambda_: float, *, fitted: Matrix, leverage: Matrix) -> Matrix:
        """(I - H_GG)⁻¹ r_G for every group G of the block, n×C."""
        rows, residual = block.rows, block.targets - fitted  # Ỹ - Ŷ
        groups = self.data.groups[rows]
        starts = np.flatnonzero(np.diff(groups, prepend=-1))
        sizes = np.diff(starts, append=len(groups))
        alone = starts[sizes == 1]
        residual[alone] /= (1 - leverage[alone])[:, None]
        if len(alone) == len(groups):
            return residual
        p, root = np.sqrt(self.data.weights[rows] / self.basis.total), np.sqrt(self.basis.shrink(lambda_))
        for start, size in zip(starts[sizes > 1], sizes[sizes > 1], strict=True):
            group = slice(start, start + size)
            u = np.concatenate([p[group, None], block.z[group] * root], axis=1)  # H_GG = u uᵀ
            residual[group] = _solve_left_out(u, residual[group])
        return residual


def _eigh_of_centred(x: Matrix, p: Matrix) -> tuple[Matrix, Matrix]:
    """Spectrum and eigenvectors of x xᵀ (N×N) for centred rows, whose eigenvalue for p is 0.

    Left to rounding it is a number that a small lambda does not hide, and one minus a leverage near 1 is wrong in the
    fifth digit. So p is moved behind all other eigenvalues, and its own is set.
    """
    gram = x @ x.T
    spectrum, vectors = np.linalg.eigh(gram + 2 * np.abs(gram).sum(axis=1).max() * np.outer(p, p))
    spectrum[-1] = 0
    return spectrum, vectors


def _solve_left_out(u: Matrix, residual: Matrix) -> Matrix:
    """(I - u uᵀ)⁻¹ r, in the smaller of its two sizes."""
    size, rank = u.shape
    if size <= rank:
        return np.linalg.solve(np.eye(size) - u @ u.T, residual).astype(np.float64, copy=False)
    update: Matrix = u @ np.linalg.solve(np.eye(rank) - u.T @ u, u.T @ residual)
    return residual + update
