"""Fine-tuning: strategies over the one loop, each a function.

In: a backbone, prepared images on disk, the probe's head. Out: FineTuned; the backbone's weights are changed in place.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from torch import nn

from headstart.backbones.backbone import Backbone
from headstart.backbones.cut_network import CutNetwork
from headstart.features.cache import FeatureCache
from headstart.finetune.activations import Activations, Tail
from headstart.finetune.fine_tuner import FineTuner, Told, check_able, within
from headstart.finetune.row_loader import Batch
from headstart.finetune.settings import FineTuneImages, FineTuneResult, FineTuneSettings
from headstart.heads.head import Head
from headstart.preserve import preserve
from headstart.training.checkpoints import Checkpoints
from headstart.training.lr_range import LrRange, lr_range_test

Progress = Callable[[int, int], None]

_LOWEST = 1e-4  # relative rate at which a range test begins; it ends at 1, a step as large as the weights
_POINTS = 60  # steps of it: four decades, fifteen points in each


def last_stage(
    backbone: Backbone,
    head: Head,
    images: FineTuneImages,
    settings: FineTuneSettings,
    told: Told,
    *,
    until: str,
    cache: FeatureCache,
    progress: Progress | None = None,
    checkpoints: Checkpoints | None = None,
) -> FineTuneResult:
    """Everything before a stage is frozen and its output cached once; only what follows is run and trained.

    Args:
        until: the first stage, or module, that trains.
        progress: called with (activations done, activations to do).
        checkpoints: written on the way; where there are some, training goes on from them.

    Raises:
        BackboneError: there is no such stage, or nothing lies before or after it.
    """
    check_able(settings, "last-stage")
    tuner = FineTuner(backbone, head, images, settings, told, checkpoints)
    policy = tuner.freeze(until)
    began = time.monotonic()
    cut = CutNetwork(tuner.network.body, lambda path: not within(path, policy))
    kept = Activations(backbone, cut, images, settings, cache, until, progress)
    seconds = time.monotonic() - began
    return tuner.run("last-stage", Tail(cut, tuner.network), kept.random_view, kept.still_view, seconds)


def full(
    backbone: Backbone,
    head: Head,
    images: FineTuneImages,
    settings: FineTuneSettings,
    told: Told,
    *,
    checkpoints: Checkpoints | None = None,
) -> FineTuneResult:
    """All stages, under a head that begins at zero; of the given head only its stages and its scaling count."""
    check_able(settings, "full")
    empty = replace(head, weight=np.zeros_like(head.weight), bias=np.zeros_like(head.bias), temperature=1.0)
    tuner = FineTuner(backbone, empty, images, settings, told, checkpoints)
    tuner.freeze(None)
    return tuner.run("full", tuner.network, tuner.random_views, tuner.still_views)


def probe_then_full(
    backbone: Backbone,
    head: Head,
    images: FineTuneImages,
    settings: FineTuneSettings,
    told: Told,
    *,
    checkpoints: Checkpoints | None = None,
) -> FineTuneResult:
    """All stages, from the solved head: the first answers are the probe's.

    Source: Kumar et al. 2022, arXiv:2202.10054 (LP-FT).
    """
    tuner = FineTuner(backbone, head, images, settings, told, checkpoints)
    tuner.freeze(None)
    return tuner.run("probe-then-full", tuner.network, tuner.random_views, tuner.still_views)


def find_rate(
    strategy: str,
    backbone: Backbone,
    head: Head,
    images: FineTuneImages,
    settings: FineTuneSettings,
    *,
    until: str = "",
    cache: FeatureCache,
    progress: Progress | None = None,
) -> LrRange:
    """Learning-rate range test of a strategy; rates are relative, as in `TuningSettings.lr`; nothing of it stays.

    With `last-stage` it runs on the cached activations, which the training then finds.

    Raises:
        BackboneError: there is no such stage.
    """
    with preserve(backbone.network):
        tuner = FineTuner(backbone, head, images, replace(settings, lr=_LOWEST, average="none"), lambda record: None)
        policy = tuner.freeze(until if strategy == "last-stage" else None)
        trained: nn.Module = tuner.network
        batch: Batch = tuner.random_views
        if strategy == "last-stage":
            cut = CutNetwork(tuner.network.body, lambda path: not within(path, policy))
            batch = Activations(backbone, cut, images, settings, cache, until, progress).random_view
            trained = Tail(cut, tuner.network)
        trained.train()
        loop = tuner.loop(trained, batch, scheduled=False)
        first = float(loop.optimizer.param_groups[0]["lr"])
        with preserve():
            loop.set_seed(settings.seed)
            found = lr_range_test(
                trained,
                loop.loss_fn,
                loop.optimizer,
                loop.train_loader,
                loop.device,
                end_lr=first / _LOWEST,
                num_iter=_POINTS,
                scale=_LOWEST / first,
            )
        trained.cpu()
    return found
