"""Fine-tuning: strategies over the training loop, each a function of a task.

In: a backbone, prepared images on disk, a solved head. Out: FineTuneResult; the backbone is trained in place.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from headstart.finetune.activations import Activations, Tail
from headstart.finetune.fine_tuner import FineTuner, Trained
from headstart.finetune.network_with_head import lay_out
from headstart.finetune.result import FineTuneResult, HeldOut
from headstart.finetune.row_loader import Batch
from headstart.finetune.settings import PLAIN, FineTuneTask, no_report
from headstart.preserve import preserve
from headstart.training.lr_range import LrRange, RangeTest, lr_range_test

_LOWEST = 1e-4  # relative learning rate at which a range test starts; it ends at 1, a step as large as the weights
RANGE_STEPS = 60
"""Steps of a range test: four decades, fifteen points in each."""


def last_stage(task: FineTuneTask, *, cached: Activations | None = None) -> FineTuneResult:
    """Everything before a stage is frozen and its output cached once; only what follows is run and trained.

    Args:
        cached: activations of these images, where they are at hand; None: they are computed, or read from the cache.

    Raises:
        BackboneError: there is no such stage, or nothing lies before or after it.
        TrainingError: the settings mix pixels, or there is no cache.
    """
    task.settings.check_strategy("last-stage")
    tuner = FineTuner(task)
    tuner.freeze(task.until)
    began = time.monotonic()
    cut = tuner.cut()
    if cached is None:
        cached = Activations(task, cut) if task.group is None else task.group.first(lambda: Activations(task, cut))
    return tuner.run(
        "last-stage",
        Tail(cut, tuner.network),
        train_batch=cached.random_view,
        evaluation_batch=cached.evaluation_view,
        cached_seconds=time.monotonic() - began,
    )


def full(task: FineTuneTask) -> FineTuneResult:
    """All stages, under a head that starts at zero; of the given head only stages and scaling count, and its scores are
    what the result is compared with.

    Raises:
        TrainingError: the settings ask for `wise` averages, which need a solved head.
    """
    task.settings.check_strategy("full")
    head = task.head
    empty = replace(head, weight=np.zeros_like(head.weight), bias=np.zeros_like(head.bias), temperature=1.0)
    given = _measure(task)
    return replace(_all_stages("full", replace(task, head=empty)), at_start=given)


def probe_then_full(task: FineTuneTask) -> FineTuneResult:
    """All stages, from the solved head: the first predictions are the probe's.

    Source: Kumar et al. 2022, arXiv:2202.10054 (LP-FT).
    """
    return _all_stages("probe-then-full", task)


STRATEGIES: Mapping[str, Callable[[FineTuneTask], FineTuneResult]] = {
    "last-stage": last_stage,
    "full": full,
    "probe-then-full": probe_then_full,
}


def _all_stages(name: str, task: FineTuneTask) -> FineTuneResult:
    tuner = FineTuner(task)
    tuner.freeze(None)
    return tuner.run(name, tuner.network, train_batch=tuner.random_views, evaluation_batch=tuner.evaluation_views)


def _measure(task: FineTuneTask) -> HeldOut:
    """The held-out images, as the network and the head score them that were given."""
    tuner = FineTuner(task)
    tuner.network.eval()
    return tuner.measure(tuner.network, tuner.held_out(tuner.evaluation_views))


def find_rate(strategy: str, task: FineTuneTask, *, cached: Activations | None = None) -> LrRange:
    """Learning-rate range test of a strategy; rates are relative, as in `FineTuneSettings.lr`; everything is put back.

    With `last-stage` it runs on the cached activations, which the training then finds.

    Args:
        cached: activations of these images, where they are at hand.

    Raises:
        BackboneError: there is no such stage.
    """
    settings = task.settings
    task = replace(task, settings=replace(settings, lr=_LOWEST, average="none"), checkpoints=None, report=no_report)
    with preserve(task.backbone.network):
        tuner = FineTuner(task)
        tuner.freeze(task.until if strategy == "last-stage" else None)
        trained: Trained = tuner.network
        batch: Batch = tuner.random_views
        if strategy == "last-stage":
            cut = tuner.cut()
            batch = (cached or Activations(task, cut)).random_view
            trained = Tail(cut, tuner.network)
        tuner.centre_head(trained, batch)
        trained.train()
        lay_out(trained, settings.form)
        loop = tuner.loop(trained, batch, scheduled=False)
        first = float(loop.optimizer.param_groups[0]["lr"])
        with preserve():
            loop.set_seed(settings.seed)
            test = RangeTest(end_lr=first / _LOWEST, num_iter=RANGE_STEPS, scale=_LOWEST / first)
            found = lr_range_test(loop, loop.train_loader, test)
        trained.cpu()
        lay_out(trained, PLAIN)
    return found
