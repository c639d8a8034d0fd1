"""Settings of the loop: loaders, optimiser, scheduler, clipping, the best epoch, TensorBoard."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from headstart.errors import TrainingError
from headstart.files import os_errors
from headstart.training.best import BestModel, smaller_is_better
from headstart.training.clipping import clip_as_they_arrive, clip_by_norm, clip_by_value
from headstart.training.loaders import check_loaders
from headstart.training.loop_state import LoopState
from headstart.training.records import EpochRecord
from headstart.training.schedule import rates_of, schedule_of
from headstart.training.wrappers import renamed


class LoopSettings(LoopState):
    """The setters of StepByStep; each may be called at any time between two epochs."""

    def set_loaders(self, train_loader: Any, val_loader: Any = None) -> None:
        """Loaders of (input, target) batches; without the second, no validation. An unfinished epoch is dropped.

        Raises:
            TrainingError: one is empty, their classes differ, or the model has fewer outputs than classes.
        """
        check_loaders(self.model, train_loader, val_loader)
        self.train_loader, self.val_loader = train_loader, val_loader
        self._position = None

    def set_optimizer(self, optimizer: Optimizer | None) -> None:
        """Another optimiser; a scheduler of the old one is dropped with a warning."""
        self.optimizer = optimizer

    def set_lr_scheduler(self, scheduler: LRScheduler, interval: str | None = None) -> None:
        """Any scheduler of this optimiser; `interval` says `batch` or `epoch` where its kind does not.

        Raises:
            TrainingError: it belongs to another optimiser, or there is none.
        """
        schedule = schedule_of(scheduler, self.needed_optimizer("set_lr_scheduler"), interval)
        self.scheduler = scheduler
        self.is_batch_lr_scheduler = schedule.interval == "batch"

    def set_clip_grad_value(self, clip_value: float) -> None:
        """Clip every gradient's elements to [-clip_value, clip_value] before each step."""
        self.clipping = clip_by_value(self._parameters_now, clip_value)

    def set_clip_grad_norm(self, max_norm: float, norm_type: float = 2.0) -> None:
        """Scale all gradients before each step so that their norm is at most max_norm; the records hold the norm."""
        self.clipping = clip_by_norm(self._parameters_now, max_norm, norm_type)

    def set_clip_backprop(self, clip_value: float) -> None:
        """Clip each gradient's elements in the backward pass, once it is summed.

        Raises:
            TrainingError: gradients are scaled, by fp16 or accumulation: the limit would mean something else.
        """
        if self.scaler.is_enabled() or self.accumulate > 1:
            raise TrainingError(
                expected="gradients that are not scaled",
                found="fp16" if self.scaler.is_enabled() else f"accumulate={self.accumulate}",
                where="set_clip_backprop",
                hint="set_clip_grad_value() clips to the same limit, just before the step.",
            )
        self.clipping = clip_as_they_arrive(self._parameters_now, clip_value)

    def remove_clip(self) -> None:
        """Remove any clipping."""
        self.clipping = None

    def _parameters_now(self) -> Iterable[nn.Parameter]:
        """Of the present model, which may have been replaced since clipping was set."""
        return self.model.parameters()

    def set_averaging(self, decay: float = 0.99) -> None:
        """Keep a second model, `averaged`, whose weights follow the trained ones: w̄ ← decay·w̄ + (1-decay)·w each step.

        Buffers are those of the trained model. The first step copies it. A checkpoint holds the averages too.

        Args:
            decay: in [0, 1); the average reaches back about 1/(1-decay) steps.

        Raises:
            TrainingError: the decay is out of range.
        """
        if not 0 <= decay < 1:
            raise TrainingError(expected="a decay in [0, 1)", found=repr(decay), where="set_averaging")
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        self.averaged = AveragedModel(self.model, multi_avg_fn=average)

    def keep_best(self, monitor: str = "", *, mode: str | None = None, min_delta: float = 0.0) -> None:
        """Keep the weights of the best epoch, by `val_loss` (without validation by `loss`) or by `monitor`."""
        monitor = monitor or ("val_loss" if self.val_loader is not None else "loss")
        self.best = BestModel(monitor, smaller_is_better(monitor, mode), min_delta)

    def set_early_stopping(
        self, patience: int, monitor: str = "", *, mode: str | None = None, min_delta: float = 0.0
    ) -> None:
        """Stop after `patience` epochs without a better one, and load the weights of the best."""
        if patience < 1:
            raise TrainingError(expected="patience of at least 1 epoch", found=str(patience), where="early stopping")
        self.keep_best(monitor, mode=mode, min_delta=min_delta)
        if self.best is not None:
            self.best.patience = patience

    def load_best(self) -> None:
        """Put the best epoch's weights into the model.

        Raises:
            TrainingError: none was kept.
        """
        if self.best is None or not self.best.state:
            raise TrainingError(expected="a best epoch", found="none kept", where="load_best", hint="Call keep_best().")
        self.model.load_state_dict(renamed(self.best.state, self.model.state_dict()))

    def set_tensorboard(self, name: str, folder: str = "runs") -> None:
        """Write losses, metrics and learning rates for TensorBoard into `folder/name_YYYYmmddHHMMSS`.

        Raises:
            TrainingError: tensorboard is not installed, or the folder cannot be written.
        """
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise TrainingError(
                expected="the package tensorboard",
                found="not installed",
                where="set_tensorboard",
                hint="pip install 'headstart[tensorboard]'",
            ) from error
        place = Path(folder) / f"{name}_{datetime.now():%Y%m%d%H%M%S}"
        with os_errors(place, expected="a folder for TensorBoard that can be written", kind=TrainingError):
            self.writer = SummaryWriter(str(place))

    def _epoch_schedulers(self, val_loss: float | None) -> None:
        schedule = self._schedule
        if schedule is not None and schedule.after_epoch(val_loss):
            self.learning_rates.append(rates_of(self.optimizer))

    def _mini_batch_schedulers(self, frac_epoch: float) -> None:
        """Step a scheduler that steps with batches; the book counts epochs from 1, so its warm restarts begin late."""
        done = self.total_epochs + (1 if self.book else 0)
        schedule = self._schedule
        if schedule is not None and schedule.after_batch(done + frac_epoch):
            self.learning_rates.append(rates_of(self.optimizer))

    def _keep(self, record: EpochRecord) -> EpochRecord:
        """Record an epoch: whether it is the best, in the history, for TensorBoard."""
        if self.best is not None and self.best.update(record, self.model):
            record = replace(record, best=True)
        was_finite = not self.records or math.isfinite(self.records[-1].loss)
        self.records.append(record)
        if not math.isfinite(record.loss) and was_finite:  # one warning, not one after every epoch
            warnings.warn(
                f"the loss of epoch {record.epoch} is {record.loss}: the learning rate may be too high; "
                "lr_range_test() finds one, set_clip_grad_norm() bounds a step",
                stacklevel=5,
            )
        if self.writer is not None:
            losses = {"training": record.loss, "validation": record.val_loss}
            scalars = {name: loss for name, loss in losses.items() if loss is not None}
            self.writer.add_scalars("loss", scalars, record.epoch)
            for name in record.metrics | record.val_metrics:
                pair = {"training": record.metrics.get(name), "validation": record.val_metrics.get(name)}
                self.writer.add_scalars(name, {k: v for k, v in pair.items() if v is not None}, record.epoch)
        return record
