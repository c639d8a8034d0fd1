"""Schedule: a learning-rate scheduler and when it steps, after every batch or after every epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch.optim import Optimizer
from torch.optim import lr_scheduler as kinds

from headstart.errors import TrainingError

PER_BATCH = (kinds.CyclicLR, kinds.OneCycleLR, kinds.CosineAnnealingWarmRestarts)
"""Made to be stepped after every batch; all others are stepped after every epoch unless `interval` is given."""

INTERVALS = ("batch", "epoch")


@dataclass
class Schedule:
    """A scheduler and the interval at which it steps."""

    scheduler: kinds.LRScheduler
    interval: str

    def after_batch(self, epochs: float) -> bool:
        """Step if this is its interval; True if it did.

        Args:
            epochs: finished ones, plus the share of the current one that was done when its batch began.
        """
        if self.interval != "batch":
            return False
        with self._steps_left():
            if isinstance(self.scheduler, kinds.CosineAnnealingWarmRestarts):
                self.scheduler.step(epochs)
            else:
                self.scheduler.step()
        return True

    def after_epoch(self, val_loss: float | None) -> bool:
        """Step if this is its interval; True if it did."""
        if self.interval != "epoch":
            return False
        with self._steps_left():
            if isinstance(self.scheduler, kinds.ReduceLROnPlateau):
                self.scheduler.step(math.nan if val_loss is None else val_loss)
            else:
                self.scheduler.step()
        return True

    def check_length(self, steps: int) -> None:
        """Refuse before the first epoch a training that is longer than the schedule.

        Args:
            steps: of the scheduler, to come.

        Raises:
            TrainingError: the scheduler was built for fewer steps, as OneCycleLR is.
        """
        total, done = getattr(self.scheduler, "total_steps", None), getattr(self.scheduler, "last_epoch", 0)
        if isinstance(total, int) and done + steps > total:
            raise self._too_few(f"one with total_steps={total}, of which {done} are done", done + steps)

    @contextmanager
    def _steps_left(self) -> Iterator[None]:
        """Say in our words that a scheduler, also one inside another, has no step left."""
        try:
            yield
        except ValueError as error:
            if "total number of steps" not in str(error) and "Tried to step" not in str(error):
                raise
            raise self._too_few(str(error)) from error

    def _too_few(self, found: str, steps: int | None = None) -> TrainingError:
        return TrainingError(
            expected="a scheduler with as many steps as the training"
            if steps is None
            else f"a scheduler for {steps} steps",
            found=found,
            where=type(self.scheduler).__name__,
            hint=f"It steps after each {self.interval}: total_steps is "
            + ("epochs × batches in an epoch." if self.interval == "batch" else "the number of epochs."),
        )

    def check(self, optimizer: Optimizer, has_validation: bool) -> None:
        """Refuse before the first epoch what would fail, or do nothing, after it.

        Raises:
            TrainingError: it moves the rates of another optimiser, or follows a validation loss that there will not be.
        """
        schedule_of(self.scheduler, optimizer)
        if isinstance(self.scheduler, kinds.ReduceLROnPlateau) and not has_validation:
            raise TrainingError(
                expected="a validation loader: ReduceLROnPlateau follows the validation loss",
                found="none",
                where="train",
                hint="Call set_loaders(train_loader, val_loader), or choose another scheduler.",
            )


def schedule_of(scheduler: kinds.LRScheduler, optimizer: Optimizer, interval: str | None = None) -> Schedule:
    """A scheduler with its interval: if not given, `batch` for those made for it, else `epoch`.

    Raises:
        TrainingError: it is none, moves the rates of another optimiser, or the interval is unknown.
    """
    given: object = scheduler  # of a notebook, which no type checker has seen
    if isinstance(given, type) or not callable(getattr(given, "step", None)):
        found = f"the class {given.__name__}, not an object of it" if isinstance(given, type) else type(given).__name__
        raise TrainingError(
            expected="a scheduler of torch.optim.lr_scheduler",
            found=found,
            where="set_lr_scheduler",
            hint="torch.optim.lr_scheduler.StepLR(sbs.optimizer, step_size=10) is one.",
        )
    if getattr(scheduler, "optimizer", optimizer) is not optimizer:
        raise TrainingError(
            expected="a scheduler of this loop's optimizer",
            found=f"{type(scheduler).__name__} of another one",
            where="set_lr_scheduler",
            hint="Build it with the same optimizer object: Scheduler(sbs.optimizer, …).",
        )
    if interval is not None and interval not in INTERVALS:
        raise TrainingError(expected="interval 'batch' or 'epoch'", found=repr(interval), where="set_lr_scheduler")
    return Schedule(scheduler, interval or ("batch" if isinstance(scheduler, PER_BATCH) else "epoch"))


def rates_of(optimizer: Optimizer) -> list[float]:
    """The present learning rate of each parameter group."""
    return [float(group["lr"]) for group in optimizer.param_groups]
