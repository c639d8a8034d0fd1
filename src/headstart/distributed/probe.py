"""The head from shards: lambda, temperature and weights, equal to those that `fit_linear_probe` finds on one machine.

One map gives statistics, which are merged; a second the error of every lambda, each image or group left out; a third
the left-out scores that the temperature is fitted on. By folds, the second is not needed.

The kernel head is ridge on features of a kernel: its landmarks, at most 2,000 rows, come here and choose the width, and
what is summed over shards is M×M.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from headstart.distributed.engine import Engine, Job
from headstart.distributed.jobs import Layout, LeaveOutJob, LeftOutScoresJob, Rows, ScoresJob, StatisticsJob
from headstart.errors import DataError
from headstart.evaluation.calibration import fit_temperature
from headstart.features.matrix import BLOCK_ROWS
from headstart.heads.cross_validation import FOLDS
from headstart.heads.head import Head
from headstart.heads.kernel import LANDMARKS, KernelFeatures, landmark_rows, solve_landmarks
from headstart.heads.linear_probe import LayerScore, LinearProbe
from headstart.heads.regularization_path import (
    LabelledFeatures,
    Matrix,
    RegularizationPath,
    Validation,
    left_out_one,
)
from headstart.heads.ridge import RidgeProblem
from headstart.heads.sufficient_statistics import (
    Folds,
    grouped_fold_errors,
    merge_all,
    merge_folds,
)
from headstart.progress import OnProgress
from headstart.wording import counted

WIDEST = 4_096  # features: five folds of D×D float64 are 0.7 GB in each worker; wider heads take fewer stages
_BUNDLES = 4  # of rows for each worker, whose statistics are sent: a worker that is late holds up a quarter of its work
_GATHERED_BYTES = 2e9  # rows of groups that span shards, brought together here; beyond, folds need none of it


@dataclass(frozen=True)
class ShardedRows:
    """The training rows of every shard, and the validation rows that may choose; empty where there are too few.

    Args:
        train: one Rows for each shard, each with a row or more. validation: the same.
    """

    layout: Layout
    train: tuple[Rows, ...]
    validation: tuple[Rows, ...] = ()


def fit_from_shards(
    engine: Engine, data: ShardedRows, *, layers: str, held_out: str, progress: OnProgress, kind: str = "ridge"
) -> LinearProbe:
    """The head from the statistics of shards.

    Args:
        layers: word for the stages, as the user chose them. held_out: `left-out` or `folds`, see `Cluster`.
        kind: ridge or kernel.
        progress: called with (items done, items to do) of all maps together.

    Raises:
        DataError: no group can be held out, or groups that span shards are too many to bring together.
    """
    width = sum(stop - start for start, stop in (data.layout.slices[stage] for stage in data.layout.stages))
    if width > WIDEST:
        raise DataError(
            expected=f"at most {WIDEST:,} features, whose products fit the memory of every worker",
            found=f"{width:,}",
            where=f"--layers {layers}",
            hint="Use fewer stages: --layers pooled.",
        )
    fit = _fit_kernel if kind == "kernel" else _fit_ridge
    path = fit(engine, data, held_out, progress)
    temperature = fit_temperature(path.held_scores, path.held_labels)
    stages = data.layout.stages
    head = Head(kind, stages, path.weight, path.bias, temperature=temperature.value, kernel=path.kernel)
    choice = LayerScore(layers=layers, stages=stages, width=width, accuracy=path.interval, lambda_=path.lambda_)
    return LinearProbe(head, path, (choice,), temperature)


def _fit_ridge(engine: Engine, data: ShardedRows, held_out: str, progress: OnProgress) -> RegularizationPath:
    # positional: of fit_from_shards, which has checked them
    solving = _Solving(engine, data, progress)
    return solving.by_folds() if held_out == "folds" else solving.left_out()


def _fit_kernel(engine: Engine, data: ShardedRows, held_out: str, progress: OnProgress) -> RegularizationPath:
    # positional: as above
    labels = np.concatenate([part.labels for part in data.train])
    images = np.concatenate([part.images for part in data.train])
    order = np.argsort(images)  # that of one machine, which draws the landmarks
    marks = images[order[landmark_rows(labels[order], LANDMARKS)]]
    few = _rows_here(data.layout, [part.take(np.flatnonzero(np.isin(part.images, marks))) for part in data.train])
    held = _rows_here(data.layout, data.validation) if data.validation else None
    validation = None if held is None else Validation(held.view, held.labels, held.weights)
    path = solve_landmarks(few, validation=validation, progress=progress)
    assert path.kernel is not None
    if len(marks) < len(images) or held_out == "folds":
        kernel = KernelFeatures.of(path.kernel)
        data = replace(data, layout=replace(data.layout, kernel=kernel))
        path = kernel.on_similarities(_fit_ridge(engine, data, held_out, progress))
    return replace(path, kind="kernel")


def _rows_here(layout: Layout, parts: Sequence[Rows]) -> LabelledFeatures:
    """The features of some rows, brought together here in the order of their images."""
    present = [part for part in parts if len(part.rows)]
    joined = _joined(present)
    what = "validation images, which choose the kernel's width"
    _check_gathered(len(joined.rows), layout, what, where="--head kernel", hint="Use --head ridge.")
    matrix = np.concatenate([layout.raw(part) for part in present])
    order = np.argsort(joined.images)
    item = joined.take(order)
    return LabelledFeatures.of(
        layout.view_of(matrix, order), item.labels, layout.classes, groups=item.groups, weights=item.weights
    )


def _check_gathered(count: int, layout: Layout, what: str, *, where: str, hint: str) -> None:
    """Refuse to bring more features together here than the memory of a driver holds."""
    size = 4 * count * layout.width
    if size > _GATHERED_BYTES:
        raise DataError(
            expected=f"at most {_GATHERED_BYTES / 1e9:g} GB of {what}",
            found=f"{counted(count, 'image')}, {size / 1e9:.1f} GB",
            where=where,
            hint=hint,
        )


class _Solving:
    """One fit: its maps are counted for the progress."""

    def __init__(self, engine: Engine, data: ShardedRows, progress: OnProgress) -> None:
        self.engine, self.data, self.progress = engine, data, progress
        self.done, self.total = 0, 2 * len(data.train) + len(data.validation)
        self.folds: Folds = self._statistics(data.train, FOLDS)
        self.all = merge_all(self.folds)

    def _statistics(self, parts: Sequence[Rows], folds: int) -> Folds:
        """Statistics of all parts, merged in their order as they come: the same numbers however fast workers are."""
        bundles = _bundles(parts, self.engine.workers)
        self.total += len(bundles)

        def in_order() -> Iterator[Folds]:
            early: dict[int, Folds] = {}
            following = 0
            for number, result in self.engine.map(StatisticsJob(self.data.layout, folds), bundles):
                early[number] = result
                self._step()
                while following in early:
                    yield early.pop(following)
                    following += 1

        return merge_folds(in_order())

    def _step(self) -> None:
        self.done += 1
        self.progress(self.done, max(self.total, self.done))

    def _map(self, job: Job, items: Sequence[Rows]) -> list[Any]:
        """Results in the order of the items."""
        results: dict[int, Any] = {}
        for number, result in self.engine.map(job, items):
            results[number] = result
            self._step()
        return [results[i] for i in range(len(items))]

    def left_out(self) -> RegularizationPath:
        """As `solve_ridge`: exactly, each group left out in turn, or by the validation rows."""
        lambdas = self.all.lambdas()
        if self.data.validation:
            return self._by_validation(lambdas)
        whole, spread = _whole_groups(self.data.train)
        here = self._gather(spread)
        found = self._map(LeaveOutJob(self.data.layout, self.all.basis, lambdas), whole)
        errors = sum((one.errors for one in found), np.zeros(len(lambdas)))
        correct = sum((one.correct for one in found), np.zeros(len(lambdas)))
        if here is not None:
            more = here.left_out_sums(lambdas)
            errors, correct = errors + more[0], correct + more[1]
        losses = errors / (self.all.weight * self.data.layout.classes)
        best = int(np.argmin(losses))
        scores = self._map(LeftOutScoresJob(self.data.layout, self.all.basis, float(lambdas[best])), whole)
        parts = [*whole]
        if here is not None:
            scores.append(here.left_out_scores(float(lambdas[best])))
            joined = _joined(spread)
            parts.append(joined.take(np.argsort(joined.groups, kind="stable")))
        return self._path(lambdas, losses, correct / self.all.count, best, parts, scores)

    def by_folds(self) -> RegularizationPath:
        """Five folds of whole groups: the errors from the statistics alone, the scores in one more map."""
        if self.data.validation:
            return self._by_validation(self.all.lambdas())
        found = grouped_fold_errors(self.folds)
        heads = [self.all.remove(fold).head(found.lambda_) for fold in self.folds]
        weights, biases = np.stack([w for w, _ in heads]), np.stack([b for _, b in heads])
        scores = self._map(ScoresJob(self.data.layout, weights, biases), self.data.train)
        labels = np.concatenate([one.labels for one in self.data.train])
        accuracy = float((np.concatenate(scores).argmax(axis=1) == labels).mean())
        accuracies = np.where(np.arange(len(found.lambdas)) == found.best, accuracy, np.nan)
        path = self._path(found.lambdas, found.losses, accuracies, found.best, self.data.train, scores)
        return replace(path, held_out=f"in {found.folds} folds of whole groups")

    def _by_validation(self, lambdas: Matrix) -> RegularizationPath:
        """The lambda with the smallest squared error of the validation rows, from their statistics."""
        layout, held = self.data.layout, self.data.validation
        statistics = merge_all(self._statistics([replace(one, folds=0 * one.folds) for one in held], 1))
        errors = [statistics.squared_error(*self.all.head(float(lambda_))) for lambda_ in lambdas]
        losses = np.array(errors) / (statistics.weight * layout.classes)
        best = int(np.argmin(losses))
        weight, bias = self.all.head(float(lambdas[best]))
        scores = self._map(ScoresJob(layout, weight[None], bias[None], by_fold=False), held)
        labels = np.concatenate([one.labels for one in held])
        accuracy = float((np.concatenate(scores).argmax(axis=1) == labels).mean())
        accuracies = np.where(np.arange(len(lambdas)) == best, accuracy, np.nan)
        path = self._path(lambdas, losses, accuracies, best, held, scores)
        return replace(path, held_out=f"on {len(labels)} validation images", held_groups=None)

    def _path(  # what a path is made of
        self,
        lambdas: Matrix,
        losses: Matrix,
        accuracies: Matrix,
        best: int,
        parts: Sequence[Rows],
        scores: list[Matrix],
    ) -> RegularizationPath:
        weight, bias = self.all.head(float(lambdas[best]))
        order = np.argsort(np.concatenate([part.images for part in parts]))  # that of one machine
        groups = np.concatenate([part.groups for part in parts])[order]
        return RegularizationPath(
            lambdas=lambdas,
            losses=losses,
            accuracies=accuracies,
            best=best,
            weight=weight,
            bias=bias,
            held_scores=np.concatenate(scores)[order],
            held_labels=np.concatenate([part.labels for part in parts])[order],
            held_out=left_out_one(groups),
            held_groups=groups,
        )

    def _gather(self, spread: Sequence[Rows]) -> RidgeProblem | None:
        """The rows of groups that lie in several shards, brought together here; None: there is no such group."""
        if not spread:
            return None
        layout = self.data.layout
        hint = "Use --held-out folds, or keep each group in one Parquet row group or tar."
        count = sum(len(one.rows) for one in spread)
        _check_gathered(
            count, layout, "images whose groups span several shards", where="--held-out left-out", hint=hint
        )
        matrix = np.concatenate([layout.raw(one) for one in spread])
        item = _joined(spread)
        order = np.argsort(item.groups, kind="stable")
        view = layout.view_of(matrix, order)
        item = item.take(order)
        data = LabelledFeatures(view, item.labels, layout.classes, item.groups, weights=item.weights)
        return RidgeProblem(data, given=self.all.basis)


def _bundles(parts: Sequence[Rows], workers: int) -> list[tuple[Rows, ...]]:
    """Parts in their order, so many together that each bundle has as many rows as a solver reads at once, or more."""
    least = max(4 * BLOCK_ROWS, -(-sum(len(part.rows) for part in parts) // (_BUNDLES * workers)))
    bundles: list[tuple[Rows, ...]] = []
    bundle: list[Rows] = []
    for part in parts:
        bundle.append(part)
        if sum(len(one.rows) for one in bundle) >= least:
            bundles.append(tuple(bundle))
            bundle = []
    return [*bundles, tuple(bundle)] if bundle else bundles


def _whole_groups(parts: Sequence[Rows]) -> tuple[list[Rows], list[Rows]]:
    """Rows of groups that lie in one shard, by group; and those of groups that lie in several."""
    shard = np.concatenate([np.full(len(part.groups), i) for i, part in enumerate(parts)])
    groups = np.concatenate([part.groups for part in parts])
    pairs = np.unique(np.stack([groups, shard]), axis=1)[0]  # one entry for each group and shard
    names, shards = np.unique(pairs, return_counts=True)
    in_several = names[shards > 1]
    whole, spread = [], []
    for part in parts:
        apart = np.isin(part.groups, in_several)
        order = np.argsort(part.groups, kind="stable")
        whole.append(part.take(order[~apart[order]]))
        spread.append(part.take(np.flatnonzero(apart)))
    return [part for part in whole if len(part.rows)], [part for part in spread if len(part.rows)]


def _joined(parts: Sequence[Rows]) -> Rows:
    """Rows of several shards as one, of no file."""
    names = ("rows", "labels", "groups", "folds", "weights", "images")
    return Rows(path=Path(), **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})
