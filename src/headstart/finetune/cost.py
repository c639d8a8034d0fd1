"""Cost of a fine-tuning, predicted on the machine that will run it: a step or two, timed, and what a step keeps."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from headstart.backbones.backbone import Backbone
from headstart.backbones.cut_network import CutNetwork, boundary_shapes
from headstart.features.cache import FeatureCache
from headstart.finetune.activations import Activations, Tail
from headstart.finetune.fine_tuner import FineTuner, within
from headstart.finetune.parameter_groups import batch_norms
from headstart.finetune.row_loader import Batch
from headstart.finetune.settings import FineTuneImages, FineTuneSettings, Labels
from headstart.heads.head import Head
from headstart.preserve import preserve
from headstart.training.batch import run_model, to_device
from headstart.training.stepbystep import StepByStep

_PATIENCE = 1.5  # seconds of timed steps; a single step of a large network may take longer
_STEPS = 5  # timed at most
_SLACK = 1.2  # a convolution's scratch space, which no tensor shows


@dataclass(frozen=True)
class Cost:
    """What a fine-tuning will take.

    Args:
        once: seconds before the first step: the frozen part over all views of all images.
        epoch: seconds of one pass over the training images. after: seconds of the held-out images, measured twice, and
            of their mirror images.
        epochs: passes.
        disk: bytes of cached activations. memory: bytes at the peak of a step, beyond the program itself.
    """

    once: float
    epoch: float
    after: float
    epochs: int
    disk: int
    memory: int

    @property
    def seconds(self) -> float:
        """All in all."""
        return self.once + self.epochs * self.epoch + self.after

    def epochs_within(self, seconds: float) -> int:
        """How many passes a time allows; 0 when not even one."""
        return max(0, int((seconds - self.once - self.after) // max(self.epoch, 1e-9)))

    def to_dict(self) -> dict[str, float | int]:
        """Plain values for run.json."""
        return {
            "seconds": self.seconds,
            "once": self.once,
            "epoch": self.epoch,
            "after": self.after,
            "epochs": self.epochs,
            "disk": self.disk,
            "memory": self.memory,
        }


def predict_cost(
    strategy: str,
    backbone: Backbone,
    head: Head,
    images: FineTuneImages,
    settings: FineTuneSettings,
    *,
    until: str = "",
    cache: FeatureCache | None = None,
) -> Cost:
    """Time and memory of a strategy, from a few steps on real images; afterwards everything is as it was.

    Args:
        until: of `last-stage`, the first stage that trains. cache: what it holds of the activations costs no time.

    Raises:
        BackboneError: there is no such stage.
    """
    # statistics that are estimated anew cost the same step, and are not part of the loop
    still = replace(settings, batch_norm="frozen" if settings.batch_norm == "recalibrated" else settings.batch_norm)
    with preserve(backbone.network):
        tuner = FineTuner(backbone, head, images, still, lambda record: None)
        policy = tuner.freeze(until if strategy == "last-stage" else None)
        if strategy == "last-stage":
            cut = CutNetwork(tuner.network.body, lambda path: not within(path, policy))
            missing = 1.0  # asked before the steps that are timed change the weights, by which rows are found
            if cache is not None:
                missing = Activations(backbone, cut, images, still, cache, until, None, fill=False).missing
            cost = _cost_behind(tuner, cut)
            cost = replace(cost, once=cost.once * missing)
        else:
            cost = _cost_of(tuner, tuner.network, tuner.random_views)
        if settings.batch_norm == "recalibrated":
            cost = replace(cost, once=cost.once + _recalibration(tuner))
    return cost


def _cost_of(tuner: FineTuner, trained: nn.Module, batch: Batch) -> Cost:
    """Of training on what `batch` gives."""
    trained.train()
    device = tuner.loop(trained, batch).device
    try:
        step = _step_seconds(tuner, trained, batch)
        memory = _step_memory(tuner, trained, to_device(batch(_some(tuner, 2), 0), device))
    finally:
        trained.cpu()
    images = len(tuner.images.rows)
    # a forward pass is a third of a step's work
    times = 3 if tuner.settings.flip_tta else 2
    held = times * len(tuner.images.validation_rows) * step / tuner.batch_size / 3
    return Cost(0.0, step * images / tuner.batch_size, held, tuner.settings.epochs, 0, memory)


def _cost_behind(tuner: FineTuner, cut: CutNetwork) -> Cost:
    """Of training behind a cut: the frozen part once for every view, and steps of the tail."""
    settings, images = tuner.settings, tuner.images
    cut.prefix.eval()
    places = _some(tuner, tuner.batch_size)
    pixels = tuner.random_views(places, 0)
    with torch.inference_mode():
        cut.prefix(pixels[:2])
        seconds = _timed(lambda: cut.prefix(pixels)) + _timed(lambda: tuner.random_views(places, 1))
        crossing: tuple[Tensor, ...] = cut.prefix(pixels)
    crossing = tuple(tensor.clone() for tensor in crossing)  # no longer of inference mode

    def batch(positions: Labels, seed: int) -> tuple[Tensor, ...]:
        return tuple(tensor[: len(positions)] for tensor in crossing)

    cost = _cost_of(tuner, Tail(cut, tuner.network), batch)
    views = 1 if settings.augmentation.is_off else settings.cached_views
    rows = views * len(set(images.rows.tolist())) + len(images.validation_rows)
    numbers = sum(int(np.prod(shape)) for shape in boundary_shapes(cut.prefix, tuner.backbone.preprocess.crop))
    disk = rows * numbers * np.dtype(settings.dtype).itemsize
    mirrored = len(images.validation_rows) if settings.flip_tta else 0  # they pass the frozen part too, uncached
    after = cost.after + mirrored * seconds / len(places)
    return replace(cost, once=rows * seconds / len(places), after=after, disk=int(disk))


def _step_seconds(tuner: FineTuner, trained: nn.Module, batch: Batch) -> float:
    """Seconds of one step on a full batch, its images read and the optimiser's work included."""
    loop, times = tuner.loop(trained, batch), list[float]()
    warm, places = _some(tuner, min(4, tuner.batch_size)), _some(tuner, tuner.batch_size)
    with preserve():
        _step(tuner, loop, batch, warm, 0)
        while len(times) < _STEPS and sum(times) < _PATIENCE:
            times.append(_timed(partial(_step, tuner, loop, batch, places, len(times))))
    return statistics.median(times) * tuner.batch_size / len(places)


def _step(tuner: FineTuner, loop: StepByStep, batch: Batch, places: Labels, seed: int) -> None:
    labels = torch.from_numpy(tuner.images.labels[places])
    loop.train_step_fn(to_device(batch(places, seed), loop.device), labels.to(loop.device))
    if str(loop.device).startswith("cuda"):
        torch.cuda.synchronize()


def _step_memory(tuner: FineTuner, trained: nn.Module, x: Any) -> int:
    """Bytes that a step holds at its peak: what the backward pass waits for, gradients, AdamW's two moments."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    own = {tensor.untyped_storage().data_ptr() for tensor in trained.state_dict().values()}
    with preserve(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = run_model(trained, x)
    count = len(output)
    saved = sum(size for place, size in kept.items() if place not in own)
    trained_bytes = sum(p.numel() * p.element_size() for p in trained.parameters() if p.requires_grad)
    return int(_SLACK * saved * tuner.batch_size / count) + 3 * trained_bytes


def _recalibration(tuner: FineTuner) -> float:
    """Half a forward pass over the training images for each batch norm."""
    places = _some(tuner, tuner.batch_size)
    pixels = tuner.random_views(places, 0)
    with torch.inference_mode():
        seconds = _timed(lambda: tuner.network.body(pixels)) / len(places)
    return 0.5 * seconds * len(tuner.images.rows) * len(batch_norms(tuner.backbone.network))


def _some(tuner: FineTuner, count: int) -> Labels:
    return np.arange(min(count, len(tuner.images.rows)), dtype=np.int64)


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
