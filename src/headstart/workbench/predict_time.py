"""predict_time: how long `train` would take here with each strategy, from a few timed steps on the user's images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Unpack

import numpy as np

from headstart.data.dataset import Dataset
from headstart.data.python_source import Source
from headstart.finetune.auto import boundary_of, epochs_of, settings_of
from headstart.finetune.cost import Cost, predict_cost
from headstart.finetune.settings import FineTuneTask
from headstart.finetune.strategies import STRATEGIES
from headstart.heads.regularization_path import Labels
from headstart.options import TrainOptions, takes
from headstart.plain import Plain
from headstart.progress import OnEvent, print_event
from headstart.workbench.fine_tune_images import FineTuneRows, fine_tune_images
from headstart.workbench.live_head import LiveHead
from headstart.workbench.session import Session

_FEW = 64  # training images: two batches; reading and timing them takes seconds


@dataclass(frozen=True, kw_only=True)
class PredictedTime(Plain):
    """Seconds that a training takes on this machine.

    Args:
        images: of the set. waiting: those whose features are not cached. features: seconds to compute these.
        strategies: name → seconds of the fine-tuning after the features; `probe` is 0; `auto` its limit of time. Those
            that cannot be timed, as without enough images, are missing.
    """

    images: int
    waiting: int
    features: float
    strategies: dict[str, float]


@takes(TrainOptions)
def predict_time(
    source: Source, *, on_event: OnEvent | None = print_event, **options: Unpack[TrainOptions]
) -> PredictedTime:
    """Predict the seconds of a training with each strategy: the planner's timed steps, on 64 of the images.

    Args:
        source: as for `train`.

    Raises:
        DataError: no honest test is possible. BackboneError: the backbone is unknown or its weights are not here.
        RecipeError: an option is wrong.
    """
    live = LiveHead(Session(None, options, on_event))
    session, recipe, backbone = live.session, live.session.recipe, live.start.backbone
    dataset = session.dataset(session.source(source)).with_split(
        recipe.test_share, recipe.seed, stable=recipe.stable_split
    )
    with session.step("choose an engine"):
        job = session.feature_job(dataset, backbone)
    train = dataset.indices("train")
    few = _few(dataset, train, recipe.seed)
    strategies = {"probe": 0.0, "auto": recipe.seconds}
    result = live.solve([dataset.samples[i] for i in few], dataset.classes)
    if result.probe is not None:
        none = np.empty(0, dtype=np.int64)
        with session.step("time the strategies"):
            images = fine_tune_images(session, backbone, dataset, rows=FineTuneRows(few, none, ""))
            settings = settings_of(recipe, len(train))
            task = FineTuneTask(
                backbone=backbone,
                head=result.probe.head,
                images=images,
                settings=settings,
                until=boundary_of(recipe, backbone),
            )
            for name in STRATEGIES:
                cost = _of_all(predict_cost(name, task), len(train) / len(few))
                strategies[name] = replace(cost, epochs=epochs_of(recipe, len(train))).seconds
    return PredictedTime(
        images=len(dataset),
        waiting=job.waiting,
        features=(job.engine.seconds_per_image or 0.0) * job.waiting,
        strategies=strategies,
    )


def _of_all(cost: Cost, times: float) -> Cost:
    """The cost of so many times as many images."""
    return replace(cost, once=cost.once * times, epoch=cost.epoch * times, after=cost.after * times)


def _few(dataset: Dataset, train: Labels, seed: int) -> Labels:
    """Some training images of all classes in turn."""
    order = np.random.default_rng(seed).permutation(train)
    rank = np.empty(len(order), dtype=np.int64)  # of each image within its class
    for label in range(len(dataset.classes)):
        own = np.flatnonzero(dataset.labels[order] == label)
        rank[own] = np.arange(len(own))
    found: Labels = np.sort(order[np.argsort(rank, kind="stable")][:_FEW])
    return found
