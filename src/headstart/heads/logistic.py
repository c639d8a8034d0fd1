"""Multinomial logistic regression by L-BFGS on standardised features, along a path of lambdas with warm starts.

In: labelled features. Out: RegularizationPath; the standardisation is folded into its weight and bias. Lambda is chosen
by cross-entropy on rows held out in whole groups, weighted as the rows that are solved for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

from headstart.heads.cross_validation import group_folds
from headstart.heads.regularization_path import (
    LabelledFeatures,
    Labels,
    Matrix,
    PathSolver,
    RegularizationPath,
    Validation,
)
from headstart.progress import OnProgress, no_progress

# for the mean loss on standardised features: from "nothing is learned" to "separable data is separated"; half decades
LAMBDAS: Matrix = np.logspace(2, -6, 17)
_ONE_FOLD_ABOVE = 5_000  # rows: then a fifth holds 1,000 images, precise enough to choose by, in a fifth of the time


def solve_logistic(
    data: LabelledFeatures, *, validation: Validation | None = None, progress: OnProgress = no_progress
) -> RegularizationPath:
    """Minimise weighted mean cross-entropy + λ/2 ‖W‖² for every lambda, bias unpenalised; keep the best held-out one.

    Args:
        data: held in memory as float64.
        validation: rows that choose instead of cross-validation.
        progress: called with (solutions found, solutions to find), and between two of them after each iteration.

    Source: Kornblith et al. 2019, arXiv:1805.08974, appendix A.4 (L-BFGS, warm starts); our λ is for the mean loss.
    """
    problem = LogisticProblem.standardised(data)
    if validation is not None:
        steps = _Steps(progress, 2 * len(LAMBDAS))
        held = _held_out_scores(problem, problem.transform(validation.view.array()), steps)
        held_labels, held_out, held_groups = validation.labels, validation.held_out, None
        weights = validation.weights
    else:
        folds = group_folds(data.labels, data.groups)
        dealt = int(folds.max()) + 1
        used = range(1 if len(folds) > _ONE_FOLD_ABOVE else dealt)
        steps = _Steps(progress, (len(used) + 1) * len(LAMBDAS))
        scores = [
            _held_out_scores(problem.subset(np.flatnonzero(folds != fold)), problem.x[folds == fold], steps)
            for fold in used
        ]
        rows = np.concatenate([np.flatnonzero(folds == fold) for fold in used])
        held, held_labels, held_groups = np.concatenate(scores, axis=1), data.labels[rows], data.groups[rows]
        weights = data.weights[rows]
        held_out = f"in {len(used)} of {dealt} folds of whole groups"
    log_probability = log_softmax(held, axis=2)[:, np.arange(len(held_labels)), held_labels]
    losses = -np.average(log_probability, axis=1, weights=weights)
    best = int(np.argmin(losses))
    theta = np.zeros(problem.size)
    for lambda_ in LAMBDAS[: best + 1]:
        theta = problem.minimise(lambda_, theta, on_iteration=steps.alive)
        steps.next()
    weight, bias = problem.unfold(theta)
    return RegularizationPath(
        lambdas=LAMBDAS,
        losses=losses,
        accuracies=(held.argmax(axis=2) == held_labels).mean(axis=1),
        best=best,
        weight=weight,
        bias=bias,
        held_scores=held[best],
        held_labels=held_labels,
        held_out=held_out,
        held_groups=held_groups,
    )


LOGISTIC = PathSolver(solve_logistic)


@dataclass
class _Steps:
    """Counts solutions for the progress function."""

    progress: OnProgress
    total: int
    done: int = 0

    def alive(self) -> None:
        self.progress(self.done, self.total)

    def next(self) -> None:
        self.done += 1
        self.alive()


@dataclass(frozen=True)
class LogisticProblem:
    """Standardised rows n×d (rotated to rank d ≤ n when N < D), and how to come back to raw features."""

    x: Matrix
    labels: Labels
    weights: Matrix
    classes: int
    mean: Matrix  # D
    scale: Matrix  # D
    rotation: Matrix | None  # D×d, None when x is not rotated

    @classmethod
    def standardised(cls, data: LabelledFeatures) -> LogisticProblem:
        """Every column with mean 0 and deviation 1, and rotated where there are fewer rows than columns."""
        raw = data.view.array()
        mean, scale = raw.mean(axis=0), raw.std(axis=0)
        scale = np.where(scale > 1e-12, scale, 1.0)  # a constant column carries nothing and must not blow up
        x, rotation = (raw - mean) / scale, None
        if x.shape[0] < x.shape[1]:  # the penalised solution lies in the span of the rows: solve there, exactly
            _, singular, vectors = np.linalg.svd(x, full_matrices=False)
            rotation = vectors[singular > singular[0] * 1e-12].T if singular[0] > 0 else vectors[:1].T
            x = x @ rotation
        return cls(
            x=x,
            labels=data.labels,
            weights=data.weights / data.weights.sum(),
            classes=data.classes,
            mean=mean,
            scale=scale,
            rotation=rotation,
        )

    def transform(self, raw: Matrix) -> Matrix:
        """Other rows in the same coordinates."""
        x = (raw - self.mean) / self.scale
        return x if self.rotation is None else x @ self.rotation

    def subset(self, rows: Labels) -> LogisticProblem:
        """The same problem on some of its rows."""
        weights = self.weights[rows] / self.weights[rows].sum()
        return replace(self, x=self.x[rows], labels=self.labels[rows], weights=weights)

    @property
    def size(self) -> int:
        """Numbers to solve for: (d + 1)·C."""
        return int(self.x.shape[1] + 1) * self.classes

    def loss(self, lambda_: float) -> Callable[[Matrix], tuple[float, Matrix]]:
        """The penalised loss with its gradient."""
        one_hot = np.eye(self.classes)[self.labels]

        def value(theta: Matrix) -> tuple[float, Matrix]:
            table = theta.reshape(-1, self.classes)  # (d + 1)×C, the last row is the bias
            log_p = log_softmax(self.x @ table[:-1] + table[-1], axis=1)
            slope = (np.exp(log_p) - one_hot) * self.weights[:, None]
            gradient = np.concatenate([self.x.T @ slope + lambda_ * table[:-1], slope.sum(axis=0, keepdims=True)])
            loss = -(self.weights * log_p[np.arange(len(log_p)), self.labels]).sum()
            return float(loss + lambda_ / 2 * np.square(table[:-1]).sum()), gradient.ravel()

        return value

    def minimise(
        self, lambda_: float, start: Matrix, *, gradient: float = 1e-7, on_iteration: Callable[[], None] | None = None
    ) -> Matrix:
        """The solution at one lambda: no entry of the gradient above `gradient`, where float64 allows.

        Args:
            start: (d + 1)·C numbers. on_iteration: called after each iteration; a single lambda may take minutes.
        """
        options = {"maxcor": 20, "maxiter": 2000, "maxfun": 4000, "gtol": gradient, "ftol": 1e-15}
        callback = None if on_iteration is None else lambda theta: on_iteration()
        found = minimize(self.loss(lambda_), start, jac=True, method="L-BFGS-B", options=options, callback=callback)
        return np.asarray(found.x)

    def unfold(self, theta: Matrix) -> tuple[Matrix, Matrix]:
        """Weight D×C and bias C for raw features."""
        table = theta.reshape(-1, self.classes)
        weight = table[:-1] if self.rotation is None else self.rotation @ table[:-1]
        weight = weight / self.scale[:, None]
        return weight, table[-1] - self.mean @ weight


def _held_out_scores(problem: LogisticProblem, held: Matrix, steps: _Steps) -> Matrix:
    """K×M×C scores of held-out rows along the path, strong to weak, each start from the last solution."""
    theta, scores = np.zeros(problem.size), []
    for lambda_ in LAMBDAS:
        # this precision is enough to choose a lambda by
        theta = problem.minimise(lambda_, theta, gradient=1e-5, on_iteration=steps.alive)
        table = theta.reshape(-1, problem.classes)
        scores.append(held @ table[:-1] + table[-1])
        steps.next()
    return np.stack(scores)
