"""Folds of whole groups, and held-out scores of any solver: what makes an outsider's head one of headstart's.

In: labelled features, a function (features, labels, groups) → (weight, bias). Out: RegularizationPath with one point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy.special import log_softmax

from headstart.errors import DataError, RecipeError
from headstart.heads.regularization_path import (
    LabelledFeatures,
    Labels,
    Matrix,
    Progress,
    RegularizationPath,
    Validation,
    no_progress,
)

FOLDS = 5  # the usual compromise of bias and time

Solver = Callable[[Matrix, Labels, Labels], Any]
"""(features N×D float64, labels N, groups N) → (weight D×C, bias C), or an object with these two attributes."""


def group_folds(labels: Labels, groups: Labels) -> Labels:
    """A fold for each row: groups are dealt class by class, the large ones first, so that folds stay balanced."""
    numbers, first, sizes = np.unique(groups, return_index=True, return_counts=True)
    order = np.lexsort((-sizes, labels[first]))
    fold_of = np.empty(len(numbers), dtype=np.int64)
    fold_of[order] = np.arange(len(numbers)) % min(FOLDS, len(numbers))
    return fold_of[np.searchsorted(numbers, groups)]


def cross_validated(
    name: str,
    solver: Solver,
    data: LabelledFeatures,
    *,
    validation: Validation | None = None,
    progress: Progress = no_progress,
) -> RegularizationPath:
    """Solve on all rows, and score rows that the solver did not see: validation rows, else folds of whole groups.

    Args:
        name: of the head, for error messages.

    Raises:
        RecipeError: the solver failed, or its weight and bias do not fit the features or are not finite.
        DataError: every class has one group only, so that no row can be held out.
    """
    x = data.view.array()
    folds = [] if validation is not None else list(_splits(data))
    weight, bias = _solve(name, solver, data, x, np.arange(len(x)))
    progress(1, len(folds) + 1)
    if validation is not None:
        scores, labels, held_out = validation.view.array() @ weight + bias, validation.labels, validation.held_out
    else:
        found = []
        for number, (train, held) in enumerate(folds):
            fold_weight, fold_bias = _solve(name, solver, data, x, train)
            found.append(x[held] @ fold_weight + fold_bias)
            progress(number + 2, len(folds) + 1)
        scores, labels = np.concatenate(found), data.labels[np.concatenate([held for _, held in folds])]
        held_out = f"in {len(folds)} folds of whole groups"
    log_probability = log_softmax(scores, axis=1)[np.arange(len(labels)), labels]
    return RegularizationPath(
        lambdas=np.array([np.nan]),
        losses=np.array([-log_probability.mean()]),
        accuracies=np.array([(scores.argmax(axis=1) == labels).mean()]),
        best=0,
        weight=weight,
        bias=bias,
        held_scores=scores,
        held_labels=labels,
        held_out=held_out,
    )


def _splits(data: LabelledFeatures) -> Iterator[tuple[Labels, Labels]]:
    """(training rows, held-out rows) of each fold; a solver always sees every class.

    Raises:
        DataError: no row can be held out.
    """
    folds, any_held = group_folds(data.labels, data.groups), False
    for fold in range(int(folds.max()) + 1):
        held = folds == fold
        missing = np.setdiff1d(data.labels, data.labels[~held])  # a class whose groups all lie in this fold
        held &= ~np.isin(data.groups, data.groups[np.isin(data.labels, missing)])
        if held.any():
            any_held = True
            yield np.flatnonzero(~held), np.flatnonzero(held)
    if not any_held:
        raise DataError(
            expected="a class with at least two groups of images",
            found="one group in each class",
            hint="Use more images, or --group-by none.",
        )


def _solve(name: str, solver: Solver, data: LabelledFeatures, x: Matrix, rows: Labels) -> tuple[Matrix, Matrix]:
    try:
        solved = solver(x[rows], data.labels[rows], data.groups[rows])
        weight, bias = solved if isinstance(solved, (tuple, list)) else (solved.weight, solved.bias)
        weight, bias = np.asarray(weight, dtype=np.float64), np.asarray(bias, dtype=np.float64)
    except Exception as error:  # foreign code: whatever it raises, the user learns whose it is
        raise RecipeError(
            expected=f"a weight and a bias from the head {name!r}",
            found=f"{type(error).__name__}: {error}",
            where=f"--head {name}",
            hint="A head is a function (features N×D, labels N, groups N) → (weight D×C, bias C).",
        ) from error
    if data.classes == 2 and weight.shape == (x.shape[1], 1) and bias.shape == (1,):  # scikit-learn's binary form
        weight, bias = np.pad(weight, ((0, 0), (1, 0))), np.pad(bias, (1, 0))
    _check(name, weight, bias, (x.shape[1], data.classes))
    return weight, bias


def _check(name: str, weight: Matrix, bias: Matrix, shape: tuple[int, int]) -> None:
    if weight.shape != shape or bias.shape != shape[1:]:
        turned = weight.shape == shape[::-1]
        raise RecipeError(
            expected=f"a weight of shape {shape} and a bias of shape {shape[1:]} from the head {name!r}",
            found=f"{weight.shape} and {bias.shape}",
            where=f"--head {name}",
            hint="Transpose the weight: a row for each feature." if turned else "Scores are features @ weight + bias.",
        )
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise RecipeError(
            expected=f"finite numbers from the head {name!r}",
            found=f"{int((~np.isfinite(weight)).sum() + (~np.isfinite(bias)).sum())} that are not",
            where=f"--head {name}",
            hint="A constant feature or a class of one image may divide by zero: regularize the solver.",
        )
