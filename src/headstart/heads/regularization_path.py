"""What a solver of a linear head gets and gives: labelled features, and a regularization path with its best point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.errors import DataError
from headstart.evaluation.design_effect import shared_groups
from headstart.evaluation.intervals import Interval, share_interval
from headstart.features.matrix import FeatureView
from headstart.heads.kernel_map import KernelMap

Matrix = NDArray[np.float64]
Labels = NDArray[np.int64]


def left_out_one(groups: Labels) -> str:
    """How held-out scores were made when each group of rows was left out in turn, as the report says it."""
    count = len(np.unique(groups))
    return f"leaving out one {'image' if count == len(groups) else f'of {count} groups'} at a time"


@dataclass(frozen=True)
class LabelledFeatures:
    """Training rows of one choice of stages, with their labels; made by `LabelledFeatures.of`.

    Args:
        view: N×D features. labels: N, class indices in [0, classes).
        groups: N numbers from 0; rows of one group are held out together. weights: N, positive.
    """

    view: FeatureView
    labels: Labels
    classes: int
    groups: Labels
    weights: Matrix

    @classmethod
    def of(
        cls,
        view: FeatureView,
        labels: Labels,
        classes: int,
        *,
        groups: Labels | None = None,
        weights: Matrix | None = None,
    ) -> LabelledFeatures:
        """Check and complete the rows.

        Args:
            groups: N of any numbers; None: each row is its own group. weights: None: all rows weigh the same.

        Raises:
            DataError: the number of labels is not that of the rows, or there are fewer than two groups.
        """
        count = view.shape[0]
        found = np.arange(count) if groups is None else np.unique(groups, return_inverse=True)[1].astype(np.int64)
        if len(labels) != count or len(np.unique(found)) < 2:
            raise DataError(
                expected="a label for every row, and at least two groups of rows to hold out in turn",
                found=f"{len(labels)} labels, {count} rows, {len(np.unique(found))} groups",
                hint="Use more images, or --group-by none.",
            )
        return cls(
            view=view,
            labels=labels,
            classes=classes,
            groups=found,
            weights=np.ones(count) if weights is None else np.asarray(weights, dtype=np.float64),
        )


@dataclass(frozen=True)
class Validation:
    """Images that may choose lambda but are neither trained on nor reported: M rows and their labels.

    Args:
        weights: M, as the training rows are weighted; None: all rows weigh the same.
    """

    view: FeatureView
    labels: Labels
    weights: Matrix | None = None

    @property
    def held_out(self) -> str:
        """How rows were held out, in words."""
        return f"on {len(self.labels)} validation images"


@dataclass(frozen=True)
class RegularizationPath:
    """Every lambda with its loss on held-out rows, and the head at the best one.

    Args:
        lambdas: K regularization strengths, strong to weak; a single NaN for a solver that has no path.
        losses: K held-out losses: squared error of ±1 indicators for ridge, else cross-entropy.
        accuracies: K held-out accuracies.
        best: index of the smallest loss.
        weight: D×C, bias: C: scores are x @ weight + bias; with a kernel M×C, on similarities to M landmarks.
        held_scores: M×C scores of the held-out rows at the best lambda; held_labels: M.
        held_out: how rows were held out, in words.
        held_groups: M groups of these rows; None for validation rows.
        kernel: maps features to what `weight` takes; None: the features themselves.
        kind: of the head, where a solver chooses among several; empty: the name it is known by.
        reason: of that choice, a sentence.
    """

    lambdas: Matrix
    losses: Matrix
    accuracies: Matrix
    best: int
    weight: Matrix
    bias: Matrix
    held_scores: Matrix
    held_labels: Labels
    held_out: str
    held_groups: Labels | None = None
    kernel: KernelMap | None = None
    kind: str = ""
    reason: str = ""

    @property
    def lambda_(self) -> float | None:
        """The chosen regularization strength; None where the solver has none."""
        chosen = float(self.lambdas[self.best])
        return None if np.isnan(chosen) else chosen

    @property
    def accuracy(self) -> float:
        """Held-out accuracy at the chosen lambda."""
        return float(self.accuracies[self.best])

    @property
    def interval(self) -> Interval:
        """The same with its interval; over groups if there are any."""
        correct = self.held_scores.argmax(axis=1) == self.held_labels
        return share_interval(correct, None if self.held_groups is None else shared_groups(self.held_groups.tolist()))


@dataclass(frozen=True)
class PathSolver:
    """A solver that chooses its own lambda and holds rows out itself, as headstart's own do.

    Args:
        solve: function (LabelledFeatures, *, validation=None, progress=…) → RegularizationPath; with validation rows
            these choose lambda.
        compares_layers: whether it is quick enough to score other choices of stages for the reader.
    """

    solve: Callable[..., RegularizationPath]
    compares_layers: bool = True
