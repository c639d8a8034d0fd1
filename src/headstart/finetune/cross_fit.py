"""Train candidates on folds of whole groups of the training images, so that each image is scored by others' networks.

In: a task, candidates, epochs. Out: Judgement. With `last-stage` all folds share one cache of activations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from headstart.errors import TrainingError
from headstart.finetune.activations import Activations
from headstart.finetune.fine_tuner import FineTuner
from headstart.finetune.judgement import Judgement, judge
from headstart.finetune.plan import Trial
from headstart.finetune.result import FineTuneResult, Scores
from headstart.finetune.settings import FineTuneTask, no_report
from headstart.finetune.strategies import STRATEGIES, find_rate, last_stage
from headstart.heads.cross_validation import group_folds
from headstart.preserve import preserve
from headstart.progress import no_progress


def cross_fit(task: FineTuneTask, epochs: Mapping[Trial, int]) -> Judgement:
    """Score every training image with networks that were trained without its fold, for the probe and each candidate.

    Each fold starts from a head that was solved without it. Averages and flips are left out: they would be chosen on
    the images that judge. Afterwards everything is as it was.

    Args:
        task: its training images are dealt into folds. epochs: candidate → epochs of each of its trainings.

    Raises:
        TrainingError: the task cannot solve a head for a fold. BackboneError: there is no such stage.
    """
    if task.solve is None:
        raise TrainingError(expected="a solver of heads for the folds", found="none", where="cross_fit")
    images = task.images
    groups = np.arange(len(images.rows)) if images.groups is None else images.groups
    folds = group_folds(images.labels, groups)
    count, done = int(folds.max()) + 1, 0
    empty: Scores = np.empty((len(folds), len(task.head.bias)))
    probe, scores = empty.copy(), {str(trial): empty.copy() for trial in epochs}
    behind = any(trial.strategy == "last-stage" for trial in epochs)
    # recalibrated statistics are those of a fold's own images, and so are its activations
    cached = _activations(task) if behind and task.settings.batch_norm != "recalibrated" else None
    for fold in range(count):
        others, held = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        part = replace(
            task,
            images=images.fold(others, held),
            head=task.solve(others),
            checkpoints=None,
            report=no_report,
            progress=no_progress,
        )
        for trial, passes in epochs.items():
            result = _train(part, trial, epochs=passes, cached=cached)
            scores[str(trial)][held], probe[held] = result.held_out.scores, result.at_start.scores
            done += 1
            task.fold_progress(done, count * len(epochs))
    return judge(probe, scores, labels=images.labels, groups=groups)


def _train(task: FineTuneTask, trial: Trial, *, epochs: int, cached: Activations | None) -> FineTuneResult:
    own = None if cached is None or trial.strategy != "last-stage" else cached.of(task.images)
    rate = trial.lr or find_rate(trial.strategy, task, cached=own).suggestion or task.settings.lr
    settings = replace(task.settings, epochs=epochs, lr=rate, average="none", flip_tta=False)
    task = replace(task, settings=settings)
    with preserve(task.backbone.network):
        return last_stage(task, cached=own) if own is not None else STRATEGIES[trial.strategy](task)


def _activations(task: FineTuneTask) -> Activations:
    """Of all training images, in all their views."""
    with preserve(task.backbone.network):
        tuner = FineTuner(task)
        tuner.freeze(task.until)
        return Activations(task, tuner.cut())
