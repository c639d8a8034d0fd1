"""StepByStep: the training loop.

A drop-in superset of the trainer of "Deep Learning with PyTorch Step-by-Step" (Godoy 2021, classes v3 and v4): the same
names, positions and return types. `compat="book"` gives the book's arithmetic where ours differs: a seed in every
`train`, means of batch means, a model left in train mode, warm restarts that begin at 1, per-image deviations, random
numbers as `loader_apply` leaves them.
"""

from __future__ import annotations

import math
import numbers
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from headstart.errors import TrainingError
from headstart.preserve import RandomState, preserve
from headstart.public_api import public_methods
from headstart.training.batch import check_gradient, loss_of, run_model, size_of, to_device, unpack
from headstart.training.captures import paused
from headstart.training.clipping import apply_clipping, follow_model
from headstart.training.diagnostics import Diagnostics
from headstart.training.loaders import batch_of_one, check_not_empty, generators_of, last_batch_size, length_of
from headstart.training.loop_state import Position
from headstart.training.loss_weight import SUM, loss_weight
from headstart.training.meters import Mean, Meters
from headstart.training.records import EpochRecord, ProgressLines, StepRecord
from headstart.training.schedule import rates_of

FIRST_CALL_42 = object()
"""The book's seed, 42, set by the first `train` or `epochs` and left alone by later ones."""

_STEP_FUNCTIONS = ("train_step_fn", "val_step_fn")

StepFunction = Callable[[Any, Any], float]


@public_methods("set_loaders", "set_lr_scheduler", "save_checkpoint", "load_checkpoint", "predict")
class StepByStep(Diagnostics):
    """A model, a loss and an optimiser, and the loop over them.

    Args:
        model: moved to the device at once. loss_fn: of (output, target). optimizer: of the model's parameters. Without
            the latter two, None, the model is only evaluated.
        metrics: name → function of (logits, target), or a metric of torchmetrics (measured on the validation loader).
        precision: `fp32`, or `bf16` or `fp16` where the network runs under autocast.
        accumulate: batches whose gradients make one step, weighted by their samples.
        compat: `fixed`, or `book` for the book's arithmetic; None: that of the class, so that one line,
            `StepByStep.compat = "book"`, also serves what is called on the class.
        progress: a line for every epoch; None: only when training takes longer than two seconds.
        device: `auto` takes a GPU when there is one.

    Raises:
        TrainingError: an option is unknown. RecipeError: this machine has no such device.
    """

    def _prepare(self) -> None:
        super()._prepare()
        self._meters = Meters(self.metrics, accumulate=False)
        self._waiting_batches, self._waiting_weight = 0, 0.0  # whose gradients wait for the step
        self.train_step_fn: StepFunction = self._make_train_step_fn()
        self.val_step_fn: StepFunction = self._make_val_step_fn()

    def __getstate__(self) -> dict[str, Any]:
        """Without what belongs to this very object: step functions that train its model, an open TensorBoard file."""
        state = {**vars(self), "writer": None}
        for name in _STEP_FUNCTIONS:
            if "_make_" in getattr(state[name], "__qualname__", ""):  # not one that was assigned
                del state[name]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copy, or an unpickled one, trains its own model."""
        vars(self).update(state)
        for name in _STEP_FUNCTIONS:
            if name not in state:
                setattr(self, name, getattr(self, f"_make_{name}")())

    def train(self, n_epochs: int, seed: Any = FIRST_CALL_42) -> None:
        """Run so many epochs; see `epochs`, which this exhausts.

        Raises:
            TrainingError: as for `epochs`; or the scheduler was built for fewer steps.
        """
        self._check_schedule_length(n_epochs)
        lines = ProgressLines(n_epochs, self.progress)
        try:
            for record in self.epochs(n_epochs, seed):
                lines.show_epoch(record)
        finally:
            if self.writer is not None:
                self.writer.close()

    def epochs(self, n_epochs: int, seed: Any = FIRST_CALL_42) -> Iterator[EpochRecord]:
        """The loop as an iterator: a record after each epoch; you may leave it at any epoch.

        Args:
            seed: an int seeds now; None never; by default the first call seeds with 42. After `load_checkpoint` an int
                seeds, too, unless the checkpoint is in the middle of an epoch, which is then finished as it began.

        Raises:
            TrainingError: there is no loader, one gives nothing, the optimizer has nothing of the model, or a scheduler
                lacks what it follows.
        """
        for record in self.steps(n_epochs, seed):
            if isinstance(record, EpochRecord):
                yield record

    def steps(self, n_epochs: int, seed: Any = FIRST_CALL_42) -> Iterator[StepRecord | EpochRecord]:
        """The loop with a record after each step of the optimiser too.

        An epoch that was left in the middle, or during its validation, is finished by the next call and counts there.
        """
        given: object = n_epochs  # of a notebook, which no type checker has seen
        if isinstance(given, bool) or not isinstance(given, numbers.Integral) or given < 0:
            raise TrainingError(expected="a number of epochs, 0 or more", found=repr(n_epochs), where="train")
        self._begin(seed)
        wanted = self.total_epochs + int(n_epochs)
        while self.total_epochs < wanted and not (self.best is not None and self.best.exhausted):
            yield from self._train_epoch()
            yield self._finish_epoch()
        if self.best is not None and self.best.exhausted:
            self.load_best()
            self.best.waited = 0  # training that goes on waits for its full patience

    def _begin(self, seed: Any) -> None:
        if self.train_loader is None:
            raise TrainingError(
                expected="a training loader", found="none", where="train", hint="Call set_loaders(train_loader) first."
            )
        optimizer, _ = self.needed_optimizer("train"), self.needed_loss("train")
        self._check_trained(optimizer)
        if self._schedule is not None:
            self._schedule.check(optimizer, self.val_loader is not None)
        self._check_last_batch()
        asked = seed is not FIRST_CALL_42 and seed is not None
        if self._random is not None and (self._position is not None or not asked):
            self._random.restore(generators_of(self.train_loader, self.val_loader))
        elif asked:
            self.set_seed(seed)
        elif seed is FIRST_CALL_42 and (self.book or not self._seeded):
            self.set_seed(42)
        self._random, self._seeded = None, True

    def _check_trained(self, optimizer: Optimizer) -> None:
        """See that a step moves something of the model or the loss; one of your own may train what it likes."""
        own_steps = getattr(self.train_step_fn, "__module__", "").startswith("headstart.")
        if type(self)._mini_batch is not StepByStep._mini_batch or not own_steps:
            return
        parts = [part for part in (self.model, self.loss_fn) if isinstance(part, nn.Module)]
        own = {id(parameter) for part in parts for parameter in part.parameters()}
        if not any(id(one) in own for group in optimizer.param_groups for one in group["params"]):
            raise TrainingError(
                expected="an optimizer of the model's parameters",
                found="one that has none of them",
                where="train",
                hint="Make it after the model: sbs.set_optimizer(torch.optim.Adam(sbs.model.parameters())).",
            )

    def _check_schedule_length(self, n_epochs: int) -> None:
        """Before the first step, not in the middle; early stopping may end a training that is asked to be too long."""
        schedule, length = self._schedule, None if self.train_loader is None else length_of(self.train_loader)
        if schedule is None or (self.best is not None and self.best.patience is not None):
            return
        if schedule.interval == "epoch":
            schedule.check_length(n_epochs)
        elif length is not None and type(self)._mini_batch is StepByStep._mini_batch:
            done = 0 if self._position is None else self._position.batches // self.accumulate
            schedule.check_length(n_epochs * math.ceil(length / self.accumulate) - done)

    def _check_last_batch(self) -> None:
        """Run a batch of one through the model where the last batch will be one: batch norm may have to refuse it."""
        if last_batch_size(self.train_loader) != 1 or not any(isinstance(m, _BatchNorm) for m in self.model.modules()):
            return
        kept = preserve(self.model, generators=generators_of(self.train_loader))
        with kept, paused(self.handles), torch.no_grad(), self.autocast():
            self.train_mode()
            run_model(self.model, to_device(unpack(batch_of_one(self.train_loader))[0], self.device))

    def _train_epoch(self) -> Iterator[StepRecord]:
        generators = generators_of(self.train_loader, self.val_loader)
        if self._position is None:
            self._position = Position(RandomState.now(generators), Mean(weighted=not self.book))
        position, began = self._position, time.monotonic()
        try:
            if type(self)._mini_batch is StepByStep._mini_batch:
                yield from self._train_batches(position, generators)
            elif not position.loss.samples:  # a subclass has its own
                position.loss.add(float(self._mini_batch(False) or 0.0), 1)
        finally:
            position.seconds += time.monotonic() - began
            position.now = RandomState.now(generators)

    def _train_batches(self, position: Position, generators: tuple[torch.Generator, ...]) -> Iterator[StepRecord]:
        batches = self._batches_from(position, generators)
        length = length_of(self.train_loader) or 0
        self._waiting_batches, self._waiting_weight = 0, 0.0
        for batch in batches:
            x, y = (to_device(value, self.device) for value in unpack(batch))
            loss = self.train_step_fn(x, y)
            position.loss.add(loss, size_of(y), loss_weight(self.loss_fn, y))
            position.batches += 1
            if not self._waiting_batches:
                yield self._after_step(position, loss, length)
        if self._waiting_batches:  # too few for a whole accumulation
            self._update()
            yield self._after_step(position, loss, length)
        check_not_empty(position.batches, "training")

    def _batches_from(self, position: Position, generators: tuple[torch.Generator, ...]) -> Iterator[Any]:
        """The loader's batches; a resumed epoch skips those that were done and draws the same random numbers."""
        self._meters.start()
        self._meters.means |= position.means
        position.means = self._meters.means
        if position.now is None:
            fresh: Iterator[Any] = iter(self.train_loader)
            return fresh
        position.start.restore(generators)
        batches: Iterator[Any] = iter(self.train_loader)
        for _ in range(position.batches):
            next(batches)
        position.now.restore(generators)
        position.now = None
        return batches

    def _after_step(self, position: Position, loss: float, length: int) -> StepRecord:
        rates = tuple(rates_of(self.optimizer))
        self._mini_batch_schedulers((position.batches - 1) / length if length else 0.0)
        norm = getattr(self.clipping, "norm", None)
        return StepRecord(epoch=self.total_epochs + 1, step=position.batches, loss=loss, rates=rates, norm=norm)

    def _finish_epoch(self) -> EpochRecord:
        position = self._position
        assert position is not None  # _train_epoch made it
        began, measured = time.monotonic(), Meters(self.metrics, accumulate=True)
        trained, self._meters = self._meters, measured
        try:
            val_loss = self._mini_batch(validation=True)
        finally:
            self._meters = trained
        self._position = None  # not before: an epoch that is left while it is validated is finished by the next call
        loss, self.total_epochs = position.loss.value, self.total_epochs + 1
        self.losses.append(loss)
        self.val_losses.append(val_loss)
        self._epoch_schedulers(val_loss)
        record = EpochRecord(
            epoch=self.total_epochs,
            loss=loss,
            val_loss=val_loss,
            metrics=trained.values(),
            val_metrics={} if val_loss is None else measured.values(),
            rates=tuple(rates_of(self.optimizer)),
            seconds=position.seconds + time.monotonic() - began,
            samples=position.loss.samples,
        )
        return self._keep(record)

    def _make_train_step_fn(self) -> StepFunction:
        """Function (x, y) → loss that makes a step; reads model, loss and optimiser when it is called."""

        def perform_train_step_fn(x: Any, y: Any) -> float:
            self.train_mode()
            if not self._waiting_batches:
                self.optimizer.zero_grad()
            with self._reproducible():
                with self.autocast():
                    outputs = run_model(self.model, x)
                    loss = loss_of(self.loss_fn, outputs, y)
                check_gradient(loss, self.loss_fn)
                follow_model(self.clipping)
                torch.autograd.backward(self.scaler.scale(loss if self.accumulate == 1 else self._weighted(loss, y)))
            self._meters.add(outputs, y, size_of(y))
            self._waiting_batches += 1
            if self._waiting_batches >= self.accumulate:
                self._update()
            return loss.item()

        return perform_train_step_fn

    def _make_val_step_fn(self) -> StepFunction:
        """Function (x, y) → loss without a step."""

        def perform_val_step_fn(x: Any, y: Any) -> float:
            self.model.eval()
            with torch.no_grad(), self._reproducible(), self.autocast():
                outputs = run_model(self.model, x)
                loss = loss_of(self.loss_fn, outputs, y)
            self._meters.add(outputs, y, size_of(y))
            return loss.item()

        return perform_val_step_fn

    def _weighted(self, loss: Tensor, y: Any) -> Tensor:
        """A batch's loss times what it was divided by, so that accumulated batches make the step of one large batch."""
        weight = loss_weight(self.loss_fn, y)
        if weight == SUM:
            self._waiting_weight = 1.0
            return loss
        self._waiting_weight += float(weight)
        return loss * float(weight)

    def _update(self) -> None:
        """The step of the optimiser along the gradients that wait."""
        self.scaler.unscale_(self.optimizer) if self.scaler.is_enabled() else None
        if self.accumulate > 1:  # sums of samples' gradients → their mean
            grads = [p.grad for p in self.model.parameters() if p.grad is not None]
            torch._foreach_div_(grads, self._waiting_weight or 1.0)  # 0: all targets were ignored
        apply_clipping(self.clipping)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.averaged is not None:
            self.averaged.update_parameters(self.model)
        self.optimizer.zero_grad()
        self._waiting_batches, self._waiting_weight = 0, 0.0

    def _mini_batch(self, validation: bool = False) -> float | None:
        """Mean loss of one pass over a loader, weighted by samples; None without a validation loader."""
        if not validation:
            generators = generators_of(self.train_loader, self.val_loader)
            position = Position(RandomState.now(generators), Mean(weighted=not self.book))
            for _ in self._train_batches(position, generators):
                pass
            return position.loss.value
        if self.val_loader is None:
            return None
        mean, modes = Mean(weighted=not self.book), [(layer, layer.training) for layer in self.model.modules()]
        self._meters.start()
        try:
            for batch in self.val_loader:
                x, y = (to_device(value, self.device) for value in unpack(batch))
                mean.add(self.val_step_fn(x, y), size_of(y), loss_weight(self.loss_fn, y))
        finally:
            for layer, mode in modes if not self.book else []:
                layer.training = mode
        check_not_empty(mean.samples, "validation")
        return mean.value
