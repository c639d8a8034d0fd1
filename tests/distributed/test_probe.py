"""The head from shards against that of one machine: groups in one shard or in several, weights, validation, folds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from headstart.distributed import probe
from headstart.distributed.jobs import Layout, Rows
from headstart.distributed.probe import ShardedRows, fit_from_shards
from headstart.distributed.shard_files import ShardFiles
from headstart.errors import DataError
from headstart.features.matrix import Features
from headstart.heads.cross_validation import FOLDS
from headstart.heads.linear_probe import LinearProbe, TrainingRows, class_weights, fit_linear_probe
from headstart.heads.sufficient_statistics import fold_of
from laid_shards import InlineEngine
from made_features import make_view

COUNT, WIDTH = 200, 14


class Made:
    """Features on one machine and in shards.

    Args:
        groups: number of groups; 0: each image is its own.
    """

    def __init__(self, folder: Path, shards: int, groups: int, *, held: int = 0, balance: str = "none") -> None:
        view, self.labels = make_view(COUNT, WIDTH, seed=4)
        self.features: Features = view.features
        rng = np.random.default_rng(shards)
        self.groups = rng.integers(0, groups, COUNT) if groups else np.arange(COUNT)
        self.train, self.held, self.balance = np.arange(COUNT - held), np.arange(COUNT - held, COUNT), balance
        self.weights = class_weights(self.labels[self.train], 3) if balance == "equal" else np.ones(COUNT)
        files, self.parts = ShardFiles(folder, {}), np.array_split(rng.permutation(COUNT), shards)
        self.paths = []
        for number, rows in enumerate(self.parts):
            values = pa.array(self.features.matrix[rows].ravel())
            column = pa.FixedSizeListArray.from_arrays(values, WIDTH)
            self.paths.append(files.write(str(number), [pa.table({"features": column})]))

    def rows(self, chosen: np.ndarray) -> tuple[Rows, ...]:
        found = []
        for path, part in zip(self.paths, self.parts, strict=True):
            at = np.flatnonzero(np.isin(part, chosen))
            image = part[at]
            folds = np.array([fold_of(str(group)) for group in self.groups[image]], dtype=np.int64)
            weights = (
                self.weights[image] if len(self.weights) == COUNT else self.weights[np.searchsorted(chosen, image)]
            )
            found.append(Rows(path, at, self.labels[image], self.groups[image], folds, weights, image))
        return tuple(one for one in found if len(one.rows))

    def in_shards(self, held_out: str, kind: str = "ridge") -> LinearProbe:
        layout = Layout(self.features.slices, self.features.stages, 3)
        data = ShardedRows(layout, self.rows(self.train), self.rows(self.held) if len(self.held) else ())
        return fit_from_shards(
            InlineEngine(), data, layers="all", held_out=held_out, progress=lambda done, total: None, kind=kind
        )

    def on_one_machine(self, kind: str = "ridge") -> LinearProbe:
        training = TrainingRows(
            rows=self.train,
            labels=self.labels[self.train],
            groups=self.groups[self.train],
            classes=3,
            validation_rows=self.held,
            validation_labels=self.labels[self.held],
        )
        layers = {"all": self.features.stages}
        return fit_linear_probe(self.features, training, layers=layers, balance=self.balance, kind=kind)


@pytest.mark.slow
@pytest.mark.parametrize("shards", [1, 3, 13])
@pytest.mark.parametrize("groups", [0, 40])
@pytest.mark.parametrize("balance", ["none", "equal"])
def test_the_head_equals_that_of_one_machine(tmp_path: Path, shards: int, groups: int, balance: str) -> None:
    made = Made(tmp_path, shards, groups, balance=balance)
    mine, reference = made.in_shards("left-out"), made.on_one_machine()
    np.testing.assert_allclose(mine.head.weight, reference.head.weight, atol=1e-9)
    np.testing.assert_allclose(mine.head.bias, reference.head.bias, atol=1e-9)
    assert mine.head.temperature == pytest.approx(reference.head.temperature, rel=1e-6)
    np.testing.assert_allclose(mine.path.losses, reference.path.losses, rtol=1e-9)
    np.testing.assert_allclose(mine.path.accuracies, reference.path.accuracies)
    assert mine.path.best == reference.path.best
    np.testing.assert_allclose(mine.path.held_scores, reference.path.held_scores, atol=1e-9)
    np.testing.assert_array_equal(mine.path.held_labels, reference.path.held_labels)
    assert mine.path.held_out == reference.path.held_out
    assert mine.held_out_accuracy.accuracy == reference.held_out_accuracy.accuracy


def test_validation_images_choose_as_on_one_machine(tmp_path: Path) -> None:
    made = Made(tmp_path, 3, 0, held=60)
    mine, reference = made.in_shards("left-out"), made.on_one_machine()
    assert mine.path.best == reference.path.best
    np.testing.assert_allclose(mine.path.losses, reference.path.losses, rtol=1e-9)
    np.testing.assert_allclose(mine.head.weight, reference.head.weight, atol=1e-9)
    assert mine.head.temperature == pytest.approx(reference.head.temperature, rel=1e-6)
    assert mine.path.held_out == "on 60 validation images"


@pytest.mark.slow
def test_folds_choose_by_refits_without_each_fold(tmp_path: Path) -> None:
    from sklearn.linear_model import Ridge

    made = Made(tmp_path, 13, 40)
    found = made.in_shards("folds")
    x = made.features.view(made.train, made.features.stages).array()
    y = np.where(made.labels[:, None] == np.arange(3), 1.0, -1.0)
    folds = np.array([fold_of(str(group)) for group in made.groups])
    errors, scores = np.zeros(len(found.path.lambdas)), np.zeros_like(y)
    for fold in range(FOLDS):
        train, held = folds != fold, folds == fold
        for k, lambda_ in enumerate(found.path.lambdas):
            predicted = Ridge(alpha=lambda_, solver="cholesky").fit(x[train], y[train]).predict(x[held])
            errors[k] += ((predicted - y[held]) ** 2).sum()
            if k == found.path.best:
                scores[held] = predicted
    np.testing.assert_allclose(found.path.losses, errors / y.size, rtol=1e-6)
    assert found.path.best == int(np.argmin(errors))
    assert found.path.accuracy == pytest.approx((scores.argmax(1) == made.labels).mean())
    np.testing.assert_allclose(found.path.held_scores, scores, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("landmarks", [50, 2_000])
@pytest.mark.parametrize(("groups", "held"), [(0, 0), (40, 0), (0, 60)])
def test_the_kernel_head_equals_that_of_one_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, landmarks: int, groups: int, held: int
) -> None:
    monkeypatch.setattr(probe, "LANDMARKS", landmarks)
    monkeypatch.setattr("headstart.heads.kernel.LANDMARKS", landmarks)
    made = Made(tmp_path, 5, groups, held=held, balance="none" if held else "equal")
    mine, reference = made.in_shards("left-out", "kernel"), made.on_one_machine("kernel")
    assert mine.head.kernel is not None
    assert reference.head.kernel is not None
    assert mine.head.kernel.gamma == reference.head.kernel.gamma
    np.testing.assert_array_equal(mine.head.kernel.landmarks, reference.head.kernel.landmarks)
    assert mine.path.best == reference.path.best
    x = made.features.view(np.arange(COUNT), made.features.stages).array()
    scores = [one.kernel.similarities(x) @ one.weight + one.bias for one in (mine.head, reference.head)]
    np.testing.assert_allclose(*scores, atol=1e-7)
    np.testing.assert_allclose(mine.path.held_scores, reference.path.held_scores, atol=1e-7)
    assert mine.head.temperature == pytest.approx(reference.head.temperature, rel=1e-6)
    assert mine.to_dict()["landmarks"] == min(landmarks, COUNT - held)
    folds = made.in_shards("folds", "kernel")
    assert folds.path.held_out == (f"on {held} validation images" if held else "in 5 folds of whole groups")


def test_what_does_not_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made(tmp_path, 3, 40)
    monkeypatch.setattr(probe, "_GATHERED_BYTES", 100.0)
    with pytest.raises(DataError, match="--held-out folds"):
        made.in_shards("left-out")
    monkeypatch.setattr(probe, "WIDEST", 4)
    with pytest.raises(DataError, match="--layers pooled"):
        made.in_shards("folds")
