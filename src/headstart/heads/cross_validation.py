"""Folds of whole groups, and held-out scores of any solver: what makes an outsider's head one of headstart's.

In: labelled features, a function (features, labels, groups) → (weight, bias). Out: RegularizationPath with one point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import log_softmax

from headstart.errors import DataError, RecipeError
from headstart.heads.regularization_path import LabelledFeatures, Labels, Matrix, RegularizationPath, Validation
from headstart.progress import OnProgress, no_progress
from headstart.registry import HEADS, foreign_code

FOLDS = 5  # the usual compromise of bias and time

Solver = Callable[[Matrix, Labels, Labels], Any]
"""(features N×D float64, labels N, groups N) → (weight D×C, bias C), or an object with these two attributes."""


def fold_count(groups: int) -> int:
    """How many folds so many groups make."""
    return min(FOLDS, groups)


def group_folds(labels: Labels, groups: Labels) -> Labels:
    """A fold for each row: groups are dealt class by class, the large ones first, so that folds stay balanced."""
    numbers, first, sizes = np.unique(groups, return_index=True, return_counts=True)
    order = np.lexsort((-sizes, labels[first]))
    fold_of = np.empty(len(numbers), dtype=np.int64)
    fold_of[order] = np.arange(len(numbers)) % fold_count(len(numbers))
    return fold_of[np.searchsorted(numbers, groups)]


def cross_validated(
    name: str,
    solver: Solver,
    data: LabelledFeatures,
    *,
    validation: Validation | None = None,
    progress: OnProgress = no_progress,
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
    solve = _Checked(name, solver, data.classes)
    weight, bias = solve(x, data.labels, data.groups)
    progress(1, len(folds) + 1)
    if validation is not None:
        scores, labels, held_out = validation.view.array() @ weight + bias, validation.labels, validation.held_out
        held_groups = None
    else:
        found = []
        for number, (train, held) in enumerate(folds):
            fold_weight, fold_bias = solve(x[train], data.labels[train], data.groups[train])
            found.append(x[held] @ fold_weight + fold_bias)
            progress(number + 2, len(folds) + 1)
        rows = np.concatenate([held for _, held in folds])
        scores, labels, held_groups = np.concatenate(found), data.labels[rows], data.groups[rows]
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
        held_groups=held_groups,
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


@dataclass(frozen=True)
class _Checked:
    """A solver from outside whose failures and results are checked.

    Args:
        name: of the head. classes: C.
    """

    name: str
    solver: Solver
    classes: int

    def __call__(self, features: Matrix, labels: Labels, groups: Labels) -> tuple[Matrix, Matrix]:
        """Weight D×C and bias C, both finite."""
        try:
            with foreign_code():
                # copies: a solver that centres its features in place must not change those of the next fold
                solved = self.solver(features.copy(), labels.copy(), groups.copy())
                weight, bias = solved if isinstance(solved, (tuple, list)) else (solved.weight, solved.bias)
            if np.iscomplexobj(weight) or np.iscomplexobj(bias):
                raise TypeError("complex numbers")
            weight, bias = np.asarray(weight, dtype=np.float64), np.asarray(bias, dtype=np.float64)
        except Exception as error:  # foreign code: whatever it raises, the user learns whose it is
            raise self._error(
                "a weight and a bias",
                f"{type(error).__name__}: {error}",
                "A head is a function (features N×D, labels N, groups N) → (weight D×C, bias C).",
            ) from error
        width = features.shape[1]
        if self.classes == 2 and weight.shape == (width, 1) and bias.shape == (1,):  # scikit-learn's binary form
            weight, bias = np.pad(weight, ((0, 0), (1, 0))), np.pad(bias, (1, 0))
        shape = (width, self.classes)
        if weight.shape != shape or bias.shape != shape[1:]:
            turned = weight.shape == shape[::-1]
            raise self._error(
                f"a weight of shape {shape} and a bias of shape {shape[1:]}",
                f"{weight.shape} and {bias.shape}",
                "Transpose the weight: a row for each feature." if turned else "Scores are features @ weight + bias.",
            )
        single = [np.abs(part) <= np.finfo(np.float32).max for part in (weight, bias)]  # NaN is in none
        if wrong := int(sum((~part).sum() for part in single)):
            hint = "A constant feature or a class of one image may divide by zero: regularize the solver."
            raise self._error("finite numbers that float32 can hold", f"{wrong} that are not", hint)
        return weight, bias

    def _error(self, expected: str, found: str, hint: str) -> RecipeError:
        return RecipeError(
            expected=f"{expected} from the head {self.name!r} of {HEADS.owner(self.name)}",
            found=found,
            where=f"--head {self.name}",
            hint=hint,
        )
