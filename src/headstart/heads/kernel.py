"""Kernel ridge regression: ridge on similarities to landmarks; width and lambda by exact leave-one-group-out.

In: labelled features. Out: RegularizationPath with its KernelMap; scores are similarities @ weight + bias.

With K_mm = L Lᵀ of the landmarks, the rows K_nm L⁻ᵀ are features whose inner products are the kernel (where all rows
are landmarks, exactly), so that ridge, its path and its exact leave-one-out are those of `ridge.py`.

Memory: a few M² (32 MB each at 2,000 landmarks); rows pass in blocks. Time: for each of six widths M³ for one Cholesky
and one eigendecomposition, on at most 2,000 rows; then N·M·(M + D) once. On one core about a minute at 2,000 rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import solve_triangular
from scipy.spatial.distance import pdist

from headstart.evaluation.design_effect import shared_groups
from headstart.evaluation.intervals import mean_interval, signed
from headstart.features.matrix import FeatureView
from headstart.heads.kernel_map import KernelMap, signed_roots
from headstart.heads.regularization_path import (
    LabelledFeatures,
    Labels,
    Matrix,
    PathSolver,
    RegularizationPath,
    Validation,
)
from headstart.heads.ridge import indicators, solve_ridge
from headstart.progress import OnProgress, no_progress
from headstart.wording import percent

LANDMARKS = 2_000
"""Rows up to which all are landmarks; beyond, so many are drawn: M³ is then a few seconds."""
WIDTHS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""γ times the median squared distance: from a nearly linear kernel to one in which only near images count."""
_JITTER = 1e-9  # on a diagonal of ones: images that are there twice have no Cholesky factor without it


def solve_kernel(
    data: LabelledFeatures, *, validation: Validation | None = None, progress: OnProgress = no_progress
) -> RegularizationPath:
    """Kernel ridge for every width and lambda; the pair with the smallest held-out squared error.

    Args:
        data: beyond 2,000 rows the width is chosen on the landmarks alone, and lambda on all rows.
        validation: rows that choose instead of the left-out ones.
        progress: called with (steps done, steps to do); a step is a width.

    Source: Saunders, Gammerman and Vovk 1998, ICML (kernel ridge); Williams and Seeger 2001, NeurIPS (Nyström);
        leave-one-out as in `ridge`.
    """
    chosen = landmark_rows(data.labels, LANDMARKS)
    is_whole = len(chosen) == len(data.labels)
    total = len(WIDTHS) + (not is_whole)
    few = data if is_whole else subset(data, chosen)
    best = solve_landmarks(few, validation=validation, progress=lambda done, _: progress(done, total))
    if not is_whole:
        assert best.kernel is not None
        best = _solve(data, KernelFeatures.of(best.kernel), validation=validation)
        progress(total, total)
    return replace(best, kind="kernel")


def solve_landmarks(
    data: LabelledFeatures, *, validation: Validation | None = None, progress: OnProgress = no_progress
) -> RegularizationPath:
    """Kernel ridge where every row is a landmark, for every width and lambda; the best of all pairs.

    Args:
        validation, progress: as for `solve_kernel`.
    """
    widths = stage_widths(data.view)
    marks = signed_roots(data.view.array(), widths).astype(np.float32)
    median = float(np.median(pdist(marks.astype(np.float64), "sqeuclidean"))) or 1.0  # 1: all images are the same
    best: RegularizationPath | None = None
    for number, width in enumerate(WIDTHS):
        kernel = KernelFeatures.of(KernelMap(marks, width / median, widths))
        found = _solve(data, kernel, validation=validation)
        if best is None or found.losses[found.best] < best.losses[best.best]:
            best = found
        progress(number + 1, len(WIDTHS))
    assert best is not None
    return best


def solve_auto(
    data: LabelledFeatures, *, validation: Validation | None = None, progress: OnProgress = no_progress
) -> RegularizationPath:
    """Ridge, or kernel ridge where its held-out squared error is lower beyond the 95 % interval of the difference.

    And its held-out accuracy is not lower: on five sets the error fell in all of 30 cells, the accuracy in 13.
    """
    ridge = replace(solve_ridge(data, validation=validation), kind="ridge")
    kernel = solve_kernel(data, validation=validation, progress=progress)
    weights = data.weights if validation is None else validation.weights
    errors = [_squared_errors(path, data.classes, weights) for path in (ridge, kernel)]
    groups = None if ridge.held_groups is None else shared_groups(ridge.held_groups.tolist())
    margin = mean_interval(errors[0] - errors[1], groups)
    chosen = kernel if margin.low > 0 and kernel.accuracy >= ridge.accuracy else ridge
    means = f"ridge {errors[0].mean():.4f}, kernel {errors[1].mean():.4f}"
    reason = (
        f"--head auto takes {chosen.kind}: squared error {ridge.held_out}: {means}, "
        f"difference {signed(margin, digits=4)}; accuracy {percent(ridge.accuracy)}, {percent(kernel.accuracy)}"
    )
    return replace(chosen, reason=reason)


KERNEL = PathSolver(solve_kernel, compares_layers=False)
AUTO = PathSolver(solve_auto, compares_layers=False)


def landmark_rows(labels: Labels, most: int) -> Labels:
    """All rows where they are few enough, else so many: classes in turn, each class's rows in a fixed random order."""
    if len(labels) <= most:
        return np.arange(len(labels))
    order = np.random.default_rng(0).permutation(len(labels))  # drawn evenly, and the same in every run
    turn = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        rows = order[labels[order] == label]
        turn[rows] = np.arange(len(rows))
    return np.sort(order[np.argsort(turn[order], kind="stable")][:most])


def subset(data: LabelledFeatures, rows: Labels) -> LabelledFeatures:
    """The same data on some of its rows."""
    return replace(
        data,
        view=data.view.take(rows),
        labels=data.labels[rows],
        groups=np.unique(data.groups[rows], return_inverse=True)[1].astype(np.int64),
        weights=data.weights[rows],
    )


def stage_widths(view: FeatureView) -> tuple[int, ...]:
    """Features of each of its stages, in order."""
    return tuple(stop - start for start, stop in (view.features.slices[stage] for stage in view.stages))


@dataclass(frozen=True)
class _MappedView(FeatureView):
    """A view whose rows pass a function before they are read."""

    map: Callable[[Matrix], Matrix] = np.asarray
    width: int = 0

    @classmethod
    def of(cls, view: FeatureView, mapped: Callable[[Matrix], Matrix], width: int) -> _MappedView:
        return cls(view.features, view.indices, view.stages, view.unit, mapped, width)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.indices), self.width

    def blocks(self, starts: Labels | None = None) -> Iterator[tuple[slice, Matrix]]:
        for rows, x in super().blocks(starts):
            yield rows, self.map(x)


@dataclass(frozen=True, eq=False)
class KernelFeatures:
    """N×D scaled features → N×M features whose inner products are the kernel: K_nm L⁻ᵀ with K_mm = L Lᵀ.

    Args:
        kernel: of M landmarks. factor: L, M×M, lower.
    """

    kernel: KernelMap
    factor: Matrix

    @classmethod
    def of(cls, kernel: KernelMap) -> KernelFeatures:
        """Those of a kernel: M³ operations, once."""
        marks = kernel.landmarks.astype(np.float64)
        squares = np.square(marks).sum(axis=1)
        gram = np.exp(-kernel.gamma * (squares[:, None] + squares - 2 * marks @ marks.T).clip(0))
        return cls(kernel, np.linalg.cholesky(gram + _JITTER * np.eye(len(gram))))

    def map(self, x: Matrix) -> Matrix:
        """The features of some rows."""
        return np.asarray(solve_triangular(self.factor, self.kernel.similarities(x).T, lower=True).T)

    def view(self, view: FeatureView) -> FeatureView:
        """The same rows, mapped as they are read."""
        return _MappedView.of(view, self.map, len(self.factor))

    def on_similarities(self, path: RegularizationPath) -> RegularizationPath:
        """A path that was solved on these features, with its weight for similarities to the landmarks."""
        weight = solve_triangular(self.factor, path.weight, lower=True, trans="T")
        return replace(path, weight=weight, kernel=self.kernel)


def _solve(data: LabelledFeatures, kernel: KernelFeatures, *, validation: Validation | None) -> RegularizationPath:
    """Ridge on the features of one kernel, and its weight for similarities to the landmarks."""
    held = None if validation is None else replace(validation, view=kernel.view(validation.view))
    return kernel.on_similarities(solve_ridge(replace(data, view=kernel.view(data.view)), validation=held))


def _squared_errors(path: RegularizationPath, classes: int, weights: Matrix | None) -> Matrix:
    """M squared errors of the held-out scores, weighted as they were when the path chose."""
    errors = np.square(path.held_scores - indicators(path.held_labels, classes)).mean(axis=1)
    return errors if weights is None else np.asarray(errors * weights / weights.mean())
