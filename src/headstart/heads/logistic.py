"""Multinomial logistic regression by L-BFGS on standardised features, along a path of strengths with warm starts.

In: a FeatureView and labels, optionally groups and weights of rows. Out: HeadPath; the standardisation is folded into
its weight and bias. Strengths are chosen by cross-entropy on rows held out in whole groups.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

from headstart.errors import DataError
from headstart.features.matrix import FeatureView
from headstart.heads.regularization_path import Labels, Matrix, RegularizationPath, Validation

# for the mean loss on standardised features: from "nothing is learned" to "separable data is separated"; half decades
STRENGTHS: Matrix = np.logspace(2, -6, 17)
_FOLDS = 5  # the usual compromise of bias and time
_ONE_FOLD_ABOVE = 5_000  # rows: then a fifth holds 1,000 images, precise enough to choose by, in a fifth of the time


def solve_logistic(
    view: FeatureView,
    labels: Labels,
    classes: int,
    *,
    groups: Labels | None = None,
    weights: Matrix | None = None,
    validation: Validation | None = None,
) -> RegularizationPath:
    """Minimise weighted mean cross-entropy + λ/2 ‖W‖² for every strength, bias unpenalised; keep the best held-out one.

    Args:
        view: N×D rows, held in memory as float64.
        labels: N, class indices in [0, classes).
        groups: N, rows with the same number are held out together; None: each row by itself.
        weights: N, positive weight of each row.
        validation: rows that choose instead of cross-validation.

    Raises:
        DataError: labels do not fit the view, or there are fewer groups than two.

    Source: Kornblith et al. 2019, arXiv:1805.08974, appendix A.4 (L-BFGS, warm starts); our λ is for the mean loss.
    """
    count, _ = view.shape
    groups = np.arange(count) if groups is None else groups
    if len(labels) != count or len(np.unique(groups)) < 2:
        raise DataError(
            expected="a label for every row and at least two groups of rows",
            found=f"{len(labels)} labels, {count} rows, {len(np.unique(groups))} groups",
            hint="Use more images, or --group-by none.",
        )
    weights = np.ones(count) if weights is None else np.asarray(weights, dtype=np.float64)
    problem = _Problem.standardised(view.array(), labels, weights, classes)
    if validation is not None:
        held = _path(problem, problem.like(validation.view.array(), validation.labels))
        told, held_labels = f"on {len(validation.labels)} validation images", validation.labels
    else:
        held, held_labels, told = _cross_validate(problem, groups)
    losses, accuracies = _judge(held, held_labels)
    best = int(np.argmin(losses))
    theta = np.zeros(problem.size)
    for strength in STRENGTHS[: best + 1]:
        theta = problem.minimise(strength, theta)
    weight, bias = problem.unfold(theta)
    return RegularizationPath(STRENGTHS, losses, accuracies, best, weight, bias, held[best], held_labels, told)


@dataclass(frozen=True)
class _Problem:
    """Standardised rows n×d (rotated to rank d ≤ n when N < D), and how to come back to raw features."""

    x: Matrix
    labels: Labels
    weights: Matrix
    classes: int
    mean: Matrix  # D
    scale: Matrix  # D
    rotation: Matrix | None  # D×d, None when x is not rotated

    @classmethod
    def standardised(cls, raw: Matrix, labels: Labels, weights: Matrix, classes: int) -> _Problem:
        mean, scale = raw.mean(axis=0), raw.std(axis=0)
        scale = np.where(scale > 1e-12, scale, 1.0)  # a constant column carries nothing and must not blow up
        x, rotation = (raw - mean) / scale, None
        if x.shape[0] < x.shape[1]:  # the penalised solution lies in the span of the rows: solve there, exactly
            _, singular, vectors = np.linalg.svd(x, full_matrices=False)
            rotation = vectors[singular > singular[0] * 1e-12].T if singular[0] > 0 else vectors[:1].T
            x = x @ rotation
        return cls(x, labels, weights / weights.sum(), classes, mean, scale, rotation)

    def like(self, raw: Matrix, labels: Labels) -> Matrix:
        """Other rows in the same coordinates."""
        x = (raw - self.mean) / self.scale
        return x if self.rotation is None else x @ self.rotation

    def part(self, rows: Labels) -> _Problem:
        """The same problem on some of its rows."""
        weights = self.weights[rows] / self.weights[rows].sum()
        return _Problem(self.x[rows], self.labels[rows], weights, self.classes, self.mean, self.scale, self.rotation)

    @property
    def size(self) -> int:
        """Numbers to solve for: (d + 1)·C."""
        return int(self.x.shape[1] + 1) * self.classes

    def loss(self, strength: float) -> Callable[[Matrix], tuple[float, Matrix]]:
        """The penalised loss with its gradient."""
        one_hot = np.eye(self.classes)[self.labels]

        def value(theta: Matrix) -> tuple[float, Matrix]:
            table = theta.reshape(-1, self.classes)  # (d + 1)×C, the last row is the bias
            log_p = log_softmax(self.x @ table[:-1] + table[-1], axis=1)
            slope = (np.exp(log_p) - one_hot) * self.weights[:, None]
            gradient = np.concatenate([self.x.T @ slope + strength * table[:-1], slope.sum(axis=0, keepdims=True)])
            loss = -(self.weights * log_p[np.arange(len(log_p)), self.labels]).sum()
            return float(loss + strength / 2 * np.square(table[:-1]).sum()), gradient.ravel()

        return value

    def minimise(self, strength: float, start: Matrix, *, gradient: float = 1e-7) -> Matrix:
        """The solution at one strength: no entry of the gradient above `gradient`, where float64 allows."""
        options = {"maxcor": 20, "maxiter": 2000, "maxfun": 4000, "gtol": gradient, "ftol": 1e-15}
        return np.asarray(minimize(self.loss(strength), start, jac=True, method="L-BFGS-B", options=options).x)

    def unfold(self, theta: Matrix) -> tuple[Matrix, Matrix]:
        """Weight D×C and bias C for raw features."""
        table = theta.reshape(-1, self.classes)
        weight = table[:-1] if self.rotation is None else self.rotation @ table[:-1]
        weight = weight / self.scale[:, None]
        return weight, table[-1] - self.mean @ weight


def _path(problem: _Problem, held: Matrix) -> Matrix:
    """K×M×C scores of held-out rows along the path, strong to weak, each start from the last solution."""
    theta, scores = np.zeros(problem.size), []
    for strength in STRENGTHS:
        theta = problem.minimise(strength, theta, gradient=1e-5)  # enough to choose a strength by
        table = theta.reshape(-1, problem.classes)
        scores.append(held @ table[:-1] + table[-1])
    return np.stack(scores)


def _cross_validate(problem: _Problem, groups: Labels) -> tuple[Matrix, Labels, str]:
    folds = _deal(problem.labels, groups)
    used = range(1 if len(folds) > _ONE_FOLD_ABOVE else int(folds.max()) + 1)
    rows = np.concatenate([np.flatnonzero(folds == fold) for fold in used])
    parts = [_path(problem.part(np.flatnonzero(folds != fold)), problem.x[folds == fold]) for fold in used]
    told = f"in {len(parts)} of {int(folds.max()) + 1} folds of whole groups"
    return np.concatenate(parts, axis=1), problem.labels[rows], told


def _deal(labels: Labels, groups: Labels) -> Labels:
    """A fold for each row: groups are dealt class by class, the large ones first, so that folds stay balanced."""
    numbers, first, sizes = np.unique(groups, return_index=True, return_counts=True)
    order = np.lexsort((-sizes, labels[first]))
    fold_of = np.empty(len(numbers), dtype=np.int64)
    fold_of[order] = np.arange(len(numbers)) % min(_FOLDS, len(numbers))
    return fold_of[np.searchsorted(numbers, groups)]


def _judge(held: Matrix, labels: Labels) -> tuple[Matrix, Matrix]:
    chosen = log_softmax(held, axis=2)[:, np.arange(len(labels)), labels]
    return -chosen.mean(axis=1), (held.argmax(axis=2) == labels).mean(axis=1)
