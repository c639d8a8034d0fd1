"""The jobs that workers are sent: extract, audit and predict shards of images; statistics, errors, scores of features.

A network travels as a classifier file that every worker opens: no pickle of a model, the same bytes everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headstart import runtime
from headstart.classifier.classifier import Classifier
from headstart.data.images import ImageRules
from headstart.distributed.extract import audit_shard, extract_shard, predict_shard
from headstart.distributed.shard import Shard
from headstart.distributed.shard_files import ShardFiles, matrix_of, read_result
from headstart.engines.choose import choose_engine
from headstart.errors import RunError
from headstart.features.matrix import Features, FeatureView
from headstart.heads.kernel import KernelFeatures
from headstart.heads.regularization_path import LabelledFeatures, Labels, Matrix
from headstart.heads.ridge import RidgeBasis, RidgeProblem, indicators
from headstart.heads.sufficient_statistics import Folds, fold_statistics, merge_folds


@dataclass(frozen=True)
class ShardWork:
    """What is done to each image of a shard: `audit`, `extract` or `predict`.

    Args:
        model: a classifier file; for `audit` None. engine, device: how its forward pass runs, see `choose_engine`.
    """

    kind: str
    rules: ImageRules
    model: Path | None = None
    engine: str = "eager"
    device: str = "cpu"
    batch_size: int = 32

    def function(self) -> Callable[[pa.Table], pa.Table]:
        """From a table of images to the table of results."""
        if self.model is None:
            return lambda rows: audit_shard(rows, self.rules)
        classifier = Classifier.load(self.model)
        backbone = classifier.backbone
        forward = choose_engine(
            backbone, name=self.engine, device=runtime.choose_device(self.device), batch_size=self.batch_size,
            cache_folder=runtime.cache_folder(),
        ).forward  # fmt: skip
        if self.kind == "predict":
            return lambda rows: predict_shard(rows, classifier, forward, batch_size=self.batch_size)
        return lambda rows: extract_shard(rows, backbone, forward, rules=self.rules, batch_size=self.batch_size)


@dataclass(frozen=True)
class ShardResult:
    """How the work on a shard went: images, and name → reason of those that could not be read."""

    images: int
    bad: Mapping[str, str]


@dataclass(frozen=True)
class ShardJob:
    """Work on shards, each into its own file; an item is a Shard, its result a ShardResult."""

    work: ShardWork
    files: ShardFiles

    def make(self) -> Callable[[Shard], ShardResult]:
        """Opens the network, once."""
        function = self.work.function()

        def run(shard: Shard) -> ShardResult:
            found: list[ShardResult] = []

            def tables() -> Iterator[pa.Table]:
                for rows in shard.tables():
                    table = function(rows)
                    found.append(result_of(table))
                    yield table

            self.files.write(shard.key, tables())
            return ShardResult(sum(one.images for one in found), {k: v for one in found for k, v in one.bad.items()})

        return run


def result_of(table: pa.Table) -> ShardResult:
    """The counts of a table of results."""
    errors = table.column("error").to_pylist()
    bad = [i for i, error in enumerate(errors) if error is not None]
    names = table.column("name").take(bad).to_pylist() if bad else []
    return ShardResult(len(errors), {name: errors[i] for name, i in zip(names, bad, strict=True)})


@dataclass(frozen=True)
class Rows:
    """Some rows of the features of one shard, with all that a solver needs of them.

    Args:
        path: of the result file. rows: n, in it. labels: n. groups: n numbers. folds: n. weights: n.
        images: n numbers by which held-out scores are ordered, whatever shards their rows are in.
    """

    path: Path
    rows: Labels
    labels: Labels
    groups: Labels
    folds: Labels
    weights: Matrix
    images: Labels

    def take(self, chosen: Labels) -> Rows:
        """Some of these rows, in another order."""
        labels, groups, folds = self.labels[chosen], self.groups[chosen], self.folds[chosen]
        weights, images = self.weights[chosen], self.images[chosen]
        return Rows(self.path, self.rows[chosen], labels, groups, folds=folds, weights=weights, images=images)


@dataclass(frozen=True)
class Layout:
    """How features are read: the columns of each stage, the stages of the head, and C classes.

    Args:
        kernel: that the head sees in place of the features; None: the features themselves.
    """

    slices: Mapping[str, tuple[int, int]]
    stages: tuple[str, ...]
    classes: int
    kernel: KernelFeatures | None = None

    @property
    def width(self) -> int:
        """Numbers of an image in all stages."""
        return max(stop for _, stop in self.slices.values())

    def view(self, item: Rows) -> FeatureView:
        """The rows of an item, of unit length in each stage, or through the kernel.

        Raises:
            RunError: its file is gone.
        """
        return self.view_of(self._matrix(item), item.rows)

    def view_of(self, matrix: NDArray[np.float32], rows: Labels) -> FeatureView:
        """The same of rows that are at hand."""
        view = Features(matrix, self.slices, (), ()).view(rows, self.stages)
        return view if self.kernel is None else self.kernel.view(view)

    def raw(self, item: Rows) -> NDArray[np.float32]:
        """The rows of an item as they are stored, all stages.

        Raises:
            RunError: its file is gone.
        """
        return self._matrix(item)[item.rows]

    def _matrix(self, item: Rows) -> NDArray[np.float32]:
        table = read_result(item.path, ["features"])
        if table is None:
            raise RunError(
                expected="features of a shard that stay where they are",
                found="none, or a damaged file",
                where=item.path,
                hint="Run the same command again: only this shard is computed.",
            )
        return matrix_of(table)

    def data(self, item: Rows) -> LabelledFeatures:
        """The rows of an item with their labels, groups side by side."""
        return LabelledFeatures(self.view(item), item.labels, self.classes, item.groups, weights=item.weights)


def statistics_of(item: Rows, layout: Layout, folds: int) -> Folds:
    """Sufficient statistics of each fold of the rows of one shard, block after block."""
    targets = indicators(item.labels, layout.classes)
    return merge_folds(
        fold_statistics(x, targets[rows], item.folds[rows], count=folds, weights=item.weights[rows])
        for rows, x in layout.view(item).blocks()
    )


@dataclass(frozen=True)
class StatisticsJob:
    """Statistics of rows; an item is a bundle of Rows, its result the statistics of each fold of all of them.

    Their size is that of D×D for each fold, whatever the rows: bundles keep what is sent small beside what is read.
    """

    layout: Layout
    folds: int

    def make(self) -> Callable[[tuple[Rows, ...]], Folds]:
        """Opens nothing."""
        return lambda bundle: merge_folds(statistics_of(item, self.layout, self.folds) for item in bundle)


@dataclass(frozen=True)
class LeftOutErrors:
    """K sums of squared errors and K correct predictions of left-out rows, one for each lambda."""

    errors: Matrix
    correct: Matrix


@dataclass(frozen=True)
class LeaveOutJob:
    """Exact left-out errors of whole groups at every lambda, given the decomposition of all rows."""

    layout: Layout
    basis: RidgeBasis
    lambdas: Matrix

    def make(self) -> Callable[[Rows], LeftOutErrors]:
        """Opens nothing."""

        def run(item: Rows) -> LeftOutErrors:
            return LeftOutErrors(*RidgeProblem(self.layout.data(item), given=self.basis).left_out_sums(self.lambdas))

        return run


@dataclass(frozen=True)
class LeftOutScoresJob:
    """Exact left-out scores n×C of whole groups at one lambda."""

    layout: Layout
    basis: RidgeBasis
    lambda_: float

    def make(self) -> Callable[[Rows], Matrix]:
        """Opens nothing."""
        return lambda item: RidgeProblem(self.layout.data(item), given=self.basis).left_out_scores(self.lambda_)


@dataclass(frozen=True)
class ScoresJob:
    """Scores n×C of rows under one head for each fold: row i by the head of its fold, or all by the only head."""

    layout: Layout
    weights: NDArray[np.float64]  # K×D×C
    biases: NDArray[np.float64]  # K×C
    by_fold: bool = True

    def make(self) -> Callable[[Rows], Matrix]:
        """Opens nothing."""

        def run(item: Rows) -> Matrix:
            x = self.layout.view(item).array()
            if not self.by_fold:
                return np.asarray(x @ self.weights[0] + self.biases[0])
            scores = np.empty((len(x), self.layout.classes))
            for fold in np.unique(item.folds):
                held = item.folds == fold
                scores[held] = x[held] @ self.weights[fold] + self.biases[fold]
            return scores

        return run
