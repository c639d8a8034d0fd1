"""Sufficient statistics of ridge regression: they merge and part exactly, so a head is solved from any shards of rows.

In: features, ±1 targets and folds of some of the rows. Out: means and centred products; from these alone the head at
every lambda and its grouped K-fold squared error, in one pass over the rows and in memory of K·D².

Rows of one group share a fold, `fold_of(group)`, wherever they lie, so groups may be spread over shards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np

from headstart.errors import DataError
from headstart.heads.cross_validation import FOLDS
from headstart.heads.regularization_path import Labels, Matrix
from headstart.heads.ridge import RELATIVE_LAMBDAS, RidgeBasis


def fold_of(group: str, folds: int = FOLDS) -> int:
    """The fold of a group, by the hash of its name: the same on every machine, whatever other groups there are."""
    return int.from_bytes(hashlib.sha256(group.encode("utf-8", "surrogatepass")).digest()[:8], "big") % folds


@dataclass(frozen=True)
class SufficientStatistics:
    """What ridge regression needs of some rows X (n×D) with targets Y (n×C) and weights w.

    Args:
        count: n. weight: sum of w.
        mean: D, weighted mean m of the rows. target_mean: C, weighted mean q of the targets.
        gram: D×D, Σ w (x-m)(x-m)ᵀ. cross: D×C, Σ w (x-m)(y-q)ᵀ. square: Σ w |y-q|².

    Source: Chan, Golub & LeVeque 1979, updating formulae for sample variances; here for products of matrices.
    """

    count: int
    weight: float
    mean: Matrix
    target_mean: Matrix
    gram: Matrix
    cross: Matrix
    square: float

    @classmethod
    def empty(cls, width: int, classes: int) -> SufficientStatistics:
        """Those of no rows."""
        return cls(
            count=0,
            weight=0.0,
            mean=np.zeros(width),
            target_mean=np.zeros(classes),
            gram=np.zeros((width, width)),
            cross=np.zeros((width, classes)),
            square=0.0,
        )

    @classmethod
    def of(cls, x: Matrix, targets: Matrix, weights: Matrix | None = None) -> SufficientStatistics:
        """Those of n rows.

        Args:
            x: n×D float64. targets: n×C. weights: n, positive; None: all are 1.
        """
        if len(x) == 0:
            return cls.empty(x.shape[1], targets.shape[1])
        w = np.ones(len(x)) if weights is None else weights
        total = float(w.sum())
        mean, target_mean = w @ x / total, w @ targets / total
        centred, off = x - mean, targets - target_mean
        weighted = centred if weights is None else centred * w[:, None]
        return cls(
            count=len(x),
            weight=total,
            mean=mean,
            target_mean=target_mean,
            gram=weighted.T @ centred,
            cross=weighted.T @ off,
            square=float(w @ np.square(off).sum(axis=1)),
        )

    def merge(self, other: SufficientStatistics) -> SufficientStatistics:
        """Those of both sets of rows together; the order does not matter beyond rounding."""
        if other.count == 0 or self.count == 0:
            return other if self.count == 0 else self
        total = self.weight + other.weight
        apart, off = other.mean - self.mean, other.target_mean - self.target_mean
        share = other.weight / total
        pull = self.weight * share  # w₁w₂ / (w₁ + w₂)
        return SufficientStatistics(
            count=self.count + other.count,
            weight=total,
            mean=self.mean + apart * share,
            target_mean=self.target_mean + off * share,
            gram=self.gram + other.gram + pull * np.outer(apart, apart),
            cross=self.cross + other.cross + pull * np.outer(apart, off),
            square=self.square + other.square + pull * float(off @ off),
        )

    def remove(self, part: SufficientStatistics) -> SufficientStatistics:
        """Those of the rows that are left when some of these rows go: equal to statistics made without them.

        Raises:
            DataError: the part has more rows than there are, so it cannot be one of them.
        """
        if part.count == 0:
            return self
        if part.count > self.count:
            raise DataError(
                expected=f"at most {self.count:,} rows to remove",
                found=f"{part.count:,}",
                where="SufficientStatistics.remove",
            )
        width, classes = self.cross.shape
        if part.count == self.count:
            return SufficientStatistics.empty(width, classes)
        rest = self.weight - part.weight
        share = part.weight / rest
        mean = self.mean + (self.mean - part.mean) * share
        target_mean = self.target_mean + (self.target_mean - part.target_mean) * share
        apart, off = part.mean - mean, part.target_mean - target_mean
        pull = rest * part.weight / self.weight
        return SufficientStatistics(
            count=self.count - part.count,
            weight=rest,
            mean=mean,
            target_mean=target_mean,
            gram=self.gram - part.gram - pull * np.outer(apart, apart),
            cross=self.cross - part.cross - pull * np.outer(apart, off),
            square=self.square - part.square - pull * float(off @ off),
        )

    @cached_property
    def basis(self) -> RidgeBasis:
        """The eigendecomposition of the centred products, of which the head at every lambda is read off."""
        spectrum, vectors = np.linalg.eigh(self.gram)
        return RidgeBasis(
            spectrum=spectrum.clip(0),
            rows=vectors,
            targets=vectors.T @ self.cross,
            mean=self.mean,
            target_mean=self.target_mean,
            primal=True,
            total=self.weight,
        )

    def head(self, lambda_: float) -> tuple[Matrix, Matrix]:
        """D×C weight and C bias of ridge regression with a free intercept at one lambda."""
        basis = self.basis
        weight: Matrix = basis.rows @ (basis.targets * basis.shrink(lambda_)[:, None])
        return weight, self.target_mean - self.mean @ weight

    def lambdas(self) -> Matrix:
        """The regularization strengths that are tried, strong to weak, relative to the largest eigenvalue."""
        return RELATIVE_LAMBDAS * max(float(self.basis.spectrum.max()), 1e-12)

    def squared_error(self, weight: Matrix, bias: Matrix) -> float:
        """Σ w |x W + b - y|² of these rows under any head, from the statistics alone."""
        off = self.mean @ weight + bias - self.target_mean
        spread = float((weight * (self.gram @ weight)).sum() - 2 * (weight * self.cross).sum())
        return spread + self.square + self.weight * float(off @ off)


Folds = tuple[SufficientStatistics, ...]
"""Statistics of each of K folds."""


def fold_statistics(
    x: Matrix, targets: Matrix, folds: Labels, *, count: int = FOLDS, weights: Matrix | None = None
) -> Folds:
    """Statistics of the rows of each fold.

    Args:
        x: n×D float64. targets: n×C. folds: n numbers in [0, count). weights: n; None: all are 1.
    """
    held = [np.flatnonzero(folds == fold) for fold in range(count)]
    return tuple(
        SufficientStatistics.of(x[rows], targets[rows], None if weights is None else weights[rows]) for rows in held
    )


def merge_folds(parts: Iterable[Folds]) -> Folds:
    """The folds of several shards together, in any order.

    Raises:
        DataError: there is no shard.
    """
    merged: Folds | None = None
    for part in parts:  # one after another: the parts may come from a generator and need not be there at once
        merged = part if merged is None else tuple(a.merge(b) for a, b in zip(merged, part, strict=True))
    if merged is None:
        raise DataError(expected="statistics of at least one shard", found="none", where="merge_folds")
    return merged


def merge_all(parts: Sequence[SufficientStatistics]) -> SufficientStatistics:
    """Statistics of all parts together."""
    return reduce(SufficientStatistics.merge, parts)


@dataclass(frozen=True)
class FoldErrors:
    """Held-out squared error of every lambda, by folds of whole groups.

    Args:
        lambdas: K, strong to weak. losses: K, weighted mean squared error of ±1 targets. best: index of the smallest.
        folds: how many folds were held out; those without a row are none.
    """

    lambdas: Matrix
    losses: Matrix
    best: int
    folds: int

    @property
    def lambda_(self) -> float:
        """The chosen regularization strength."""
        return float(self.lambdas[self.best])


def grouped_fold_errors(folds: Folds, lambdas: Matrix | None = None) -> FoldErrors:
    """Grouped K-fold squared error of every lambda, from the statistics alone: no second pass over the rows.

    Args:
        lambdas: None: those of all rows, see `SufficientStatistics.lambdas`.

    Raises:
        DataError: all groups are in one fold, so that no row can be held out.
    """
    total = merge_all(folds)
    held = [fold for fold in folds if fold.count]
    if len(held) < 2:
        raise DataError(
            expected="groups in at least two folds, to hold one out",
            found=f"{total.count:,} images in {len(held)}",
            hint="Use more groups of images.",
        )
    tried = total.lambdas() if lambdas is None else lambdas
    errors = np.zeros(len(tried))
    for fold in held:
        rest = total.remove(fold)
        errors += [fold.squared_error(*rest.head(float(lambda_))) for lambda_ in tried]
    losses = errors / (total.weight * len(total.target_mean))
    return FoldErrors(lambdas=tried, losses=losses, best=int(np.argmin(losses)), folds=len(held))
