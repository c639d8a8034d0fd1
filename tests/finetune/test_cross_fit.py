"""Folds of a fine-tuning: each image is scored by a network that never saw it, and everything is put back."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from fine_tune_set import STILL, backbone, features_of, make_head, make_images, task
from headstart.errors import TrainingError
from headstart.features.cache import FeatureCache
from headstart.finetune.cross_fit import cross_fit
from headstart.finetune.plan import Trial
from headstart.finetune.result import HeldOut
from headstart.finetune.settings import FineTuneImages, FineTuneTask
from headstart.finetune.strategies import last_stage
from headstart.heads.cross_validation import group_folds
from headstart.heads.head import Head
from headstart.heads.linear_probe import TrainingRows, fit_linear_probe


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> FineTuneImages:
    """All 48 of them, in groups of two."""
    made = make_images(tmp_path_factory.mktemp("folds"))
    rows, labels = np.arange(48), np.repeat(np.arange(3), 16)
    none = np.array([], dtype=np.int64)
    return dataclasses.replace(
        made, rows=rows, labels=labels, groups=rows // 2, validation_rows=none, validation_labels=none
    )


def solve(images: FineTuneImages, positions: np.ndarray) -> Head:
    made, none = backbone(), np.array([], dtype=np.int64)
    features = features_of(made, images, images.rows)
    training = TrainingRows(
        rows=positions,
        labels=images.labels[positions],
        groups=images.groups[positions],
        classes=3,
        validation_rows=none,
        validation_labels=none,
    )
    return fit_linear_probe(features, training, layers={"auto": made.spec.choose_stages("auto")}).head


def job(images: FineTuneImages, folder: Path) -> FineTuneTask:
    return task(
        backbone(),
        make_head(images),
        images,
        STILL,
        until="stage3",
        cache=FeatureCache(folder, 1e9),
        solve=lambda positions: solve(images, positions),
    )


@pytest.mark.slow
def test_the_scores_of_a_fold_are_those_of_a_training_without_it(images: FineTuneImages, tmp_path: Path) -> None:
    made, trial, done = job(images, tmp_path / "a"), Trial("last-stage", 0.01), []
    before = {name: tensor.clone() for name, tensor in made.backbone.state().items()}

    found = cross_fit(
        dataclasses.replace(made, fold_progress=lambda number, total: done.append((number, total))), {trial: 1}
    )

    folds = group_folds(images.labels, images.groups)
    scores, probe = np.empty((48, 3)), np.empty((48, 3))
    for fold in range(5):
        others, held = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        alone = dataclasses.replace(
            job(images.fold(others, held), tmp_path / f"fold {fold}"),
            head=solve(images, others),
            settings=dataclasses.replace(STILL, epochs=1, lr=0.01),
        )
        result = last_stage(alone)
        scores[held], probe[held] = result.held_out.scores, result.at_start.scores
    assert found.losses[str(trial)] == HeldOut.of(scores, images.labels, images.groups).log_loss
    assert found.probe_loss == HeldOut.of(probe, images.labels, images.groups).log_loss
    assert done == [(number, 5) for number in range(1, 6)]
    assert all(torch.equal(before[name], tensor) for name, tensor in made.backbone.state().items())


def test_without_a_solver_there_are_no_folds(images: FineTuneImages, tmp_path: Path) -> None:
    made = dataclasses.replace(job(images, tmp_path), solve=None)
    with pytest.raises(TrainingError, match="solver of heads"):
        cross_fit(made, {Trial("last-stage", 0.01): 1})
