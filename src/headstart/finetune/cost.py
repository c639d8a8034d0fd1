"""Cost of a fine-tuning, predicted on the machine that will run it: a few timed steps, and the tensors a step keeps."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from headstart import runtime
from headstart.backbones.cut_network import CutNetwork, boundary_shapes
from headstart.finetune.activations import Activations, Tail
from headstart.finetune.fine_tuner import FineTuner
from headstart.finetune.network_with_head import lay_out
from headstart.finetune.parameter_groups import batch_norms
from headstart.finetune.row_loader import Batch
from headstart.finetune.settings import PLAIN, FineTuneTask, Labels, no_report
from headstart.plain import Plain
from headstart.preserve import preserve
from headstart.training.batch import run_model, to_device

Clock = Callable[[], float]

_PATIENCE = 1.5  # seconds of timed steps; a single step of a large network may take longer
_STEPS = 5  # timed at most
_SLACK = 1.2  # a convolution's scratch space, which no tensor shows


@dataclass(frozen=True, kw_only=True)
class Cost(Plain):
    """Time, disk and memory that a fine-tuning takes.

    Args:
        once: seconds before the first step: the frozen part over all views of all images.
        epoch: seconds of one pass over the training images. after: seconds of the held-out images, measured twice, and
            of their flips. folds: seconds of the trainings that judge whether it is worth it, those of all candidates.
        epochs: passes.
        disk: bytes of cached activations. memory: bytes at the peak of a step, beyond the program itself.
    """

    once: float = 0.0
    epoch: float = 0.0
    after: float = 0.0
    folds: float = 0.0
    epochs: int = 0
    disk: int = 0
    memory: int = 0

    @property
    def seconds(self) -> float:
        """In total."""
        return self.once + self.folds + self.epochs * self.epoch + self.after

    def epochs_within(self, seconds: float) -> int:
        """How many passes a time allows; 0 when not even one."""
        return max(0, int((seconds - self.once - self.after) // max(self.epoch, 1e-9)))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for run.json, with the total."""
        return {"seconds": self.seconds, **super().to_dict()}


def predict_cost(strategy: str, task: FineTuneTask, *, clock: Clock = time.perf_counter) -> Cost:
    """Time and memory of a strategy, from a few steps on real images; afterwards everything is as it was.

    Activations that the task's cache already holds cost no time.

    Args:
        clock: gives seconds.

    Raises:
        BackboneError: there is no such stage.
    """
    recalibrated = task.settings.batch_norm == "recalibrated"
    if recalibrated:  # a step costs the same as with frozen statistics; measuring them is added at the end
        task = replace(task, settings=replace(task.settings, batch_norm="frozen"))
    task = replace(task, checkpoints=None, report=no_report)
    with preserve(task.backbone.network):
        tuner = FineTuner(task)
        tuner.freeze(task.until if strategy == "last-stage" else None)
        timed = _Timed(tuner, clock)
        if strategy == "last-stage":
            cut = tuner.cut()
            missing = 1.0  # looked up before the timed steps change the weights, which are part of a row's key
            if task.cache is not None:
                missing = Activations(task, cut, fill=False).missing
            cost = timed.behind(cut)
            cost = replace(cost, once=cost.once * missing)
        else:
            cost = timed.whole(tuner.network, tuner.random_views)
        if recalibrated:
            cost = replace(cost, once=cost.once + timed.recalibration())
    return cost


@dataclass(frozen=True)
class _Timed:
    """Times steps and forward passes of a tuner on real images."""

    tuner: FineTuner
    clock: Clock

    def whole(self, trained: nn.Module, batch: Batch) -> Cost:
        """Cost of training on what `batch` gives."""
        tuner = self.tuner
        trained.train()
        lay_out(trained, tuner.settings.form)
        loop = tuner.loop(trained, batch)
        try:
            step = self._step_seconds(trained, batch)
            with loop.autocast():
                memory = self._step_memory(trained, to_device(batch(self._some(2), 0), loop.device))
        finally:
            trained.cpu()
            lay_out(trained, PLAIN)
        passes = 3 if tuner.settings.flip_tta else 2  # each a third of a step's work
        held_out = passes * len(tuner.images.validation_rows) * step / tuner.batch_size / 3
        return Cost(
            epoch=step * len(tuner.images.rows) / tuner.batch_size,
            after=held_out,
            epochs=tuner.settings.epochs,
            memory=memory,
        )

    def behind(self, cut: CutNetwork) -> Cost:
        """Cost of training behind a cut: the frozen part once for every view, and steps of the tail."""
        settings, images = self.tuner.settings, self.tuner.images
        places = self._some(self.tuner.batch_size)
        pixels = self.tuner.random_views(places, 0).to(self._device)
        cut.prefix.eval().to(self._device)
        try:
            with torch.inference_mode():
                cut.prefix(pixels[:2])
                seconds = self._seconds(lambda: cut.prefix(pixels))
                seconds += self._seconds(lambda: self.tuner.random_views(places, 1))
                crossing: tuple[Tensor, ...] = cut.prefix(pixels)
        finally:
            cut.prefix.cpu()
        crossing = tuple(tensor.clone().cpu() for tensor in crossing)  # no longer of inference mode; read from a disk

        def batch(positions: Labels, seed: int) -> tuple[Tensor, ...]:
            return tuple(tensor[: len(positions)] for tensor in crossing)

        cost = self.whole(Tail(cut, self.tuner.network), batch)
        views = 1 if settings.augmentation.is_off else settings.cached_views
        rows = views * len(set(images.rows.tolist())) + len(images.validation_rows)
        numbers = sum(int(np.prod(shape)) for shape in boundary_shapes(cut.prefix, self.tuner.backbone.preprocess.crop))
        disk = rows * numbers * np.dtype(settings.dtype).itemsize
        flipped = len(images.validation_rows) if settings.flip_tta else 0  # they pass the frozen part too, uncached
        after = cost.after + flipped * seconds / len(places)
        return replace(cost, once=rows * seconds / len(places), after=after, disk=int(disk))

    def recalibration(self) -> float:
        """Seconds of half a forward pass over the training images for each batch norm."""
        tuner, places = self.tuner, self._some(self.tuner.batch_size)
        pixels = tuner.random_views(places, 0)
        with torch.inference_mode():
            seconds = self._seconds(lambda: tuner.network.body(pixels)) / len(places)
        return 0.5 * seconds * len(tuner.images.rows) * len(batch_norms(tuner.backbone.network))

    def _step_seconds(self, trained: nn.Module, batch: Batch) -> float:
        """Seconds of one step on a full batch, with reading its images and the optimiser's work."""
        loop, times = self.tuner.loop(trained, batch), list[float]()
        places = self._some(self.tuner.batch_size)

        def step(places: Labels) -> None:
            labels = torch.from_numpy(self.tuner.images.labels[places])
            loop.train_step_fn(to_device(batch(places, len(times)), loop.device), labels.to(loop.device))

        with preserve():
            step(places[:4])  # warm-up
            while len(times) < _STEPS and sum(times) < _PATIENCE:
                times.append(self._seconds(lambda: step(places)))
        return statistics.median(times) * self.tuner.batch_size / len(places)

    def _step_memory(self, trained: nn.Module, x: Any) -> int:
        """Bytes that a step holds at its peak: tensors saved for the backward pass, gradients, AdamW's two moments."""
        kept: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        own = {tensor.untyped_storage().data_ptr() for tensor in trained.state_dict().values()}
        with preserve(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            count = len(run_model(trained, x))
        saved = sum(size for pointer, size in kept.items() if pointer not in own)
        trained_bytes = sum(p.numel() * p.element_size() for p in trained.parameters() if p.requires_grad)
        return int(_SLACK * saved * self.tuner.batch_size / count) + 3 * trained_bytes

    def _some(self, count: int) -> Labels:
        return np.arange(min(count, len(self.tuner.images.rows)), dtype=np.int64)

    def _seconds(self, work: Callable[[], object]) -> float:
        began = self.clock()
        work()
        if self._device.startswith("cuda"):
            torch.cuda.synchronize()  # the call only hands the work over
        return self.clock() - began

    @property
    def _device(self) -> str:
        return runtime.choose_device(self.tuner.settings.device)
