"""ParallelLoop: StepByStep in several processes, with the losses and steps of one.

Batches come as (this process's rows, targets of the whole batch). A rank's loss counts by its share of what the whole
batch's loss is divided by, and gradients are summed: so no row is repeated to make shares equal, and a last batch that
cannot be divided gives the same step as in one process.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from headstart.training.batch import logits_of, loss_of, run_model, size_of
from headstart.training.loss_weight import SUM, loss_weight
from headstart.training.process_group import ProcessGroup
from headstart.training.stepbystep import StepByStep, StepFunction
from headstart.training.synced_batch_norm import SyncedBatchNorm


class ParallelLoop(StepByStep):
    """A StepByStep whose batches are shared out; losses, records and metrics are of the whole batch in every process.

    Args:
        group: the processes. live: whether batch norm takes statistics of the batch, which are then of the whole one.
        args, options: of StepByStep.
    """

    def __init__(self, *args: Any, group: ProcessGroup, live: bool = False, **options: Any) -> None:
        self.group, self.live = group, live
        super().__init__(*args, **options)

    def _make_train_step_fn(self) -> StepFunction:
        """Function (own rows, targets of the whole batch) → loss of the whole batch."""

        def perform_train_step_fn(x: Any, y: Any) -> float:
            self.train_mode()
            if not self._waiting_batches:
                self.optimizer.zero_grad()
            own = self.group.own(y)
            synced = SyncedBatchNorm(idle=not len(own)) if self.live else nullcontext()
            with self._reproducible():
                with self.autocast(), synced:
                    outputs = logits_of(run_model(self.model, x))
                    part = self._part(outputs, own, y)
                torch.autograd.backward(part)
            whole = self.group.gather(outputs.detach()[: len(own)], size_of(y))
            self._meters.add(whole, y, size_of(y))
            self._waiting_batches += 1
            if self._waiting_batches >= self.accumulate:
                self._update()
            return float(loss_of(self.loss_fn, whole, y).item())

        return perform_train_step_fn

    def _part(self, outputs: Tensor, own: Any, y: Any) -> Tensor:
        """What this process adds to the loss of the batch, or, of accumulated batches, to its sum."""
        of_batch = loss_weight(self.loss_fn, y)
        if of_batch != SUM:
            self._waiting_weight += float(of_batch)
        if not len(own):  # its row only stands in
            return outputs.sum() * 0.0
        loss, of_own = loss_of(self.loss_fn, outputs, own), loss_weight(self.loss_fn, own)
        if of_batch == SUM or of_own == SUM:
            self._waiting_weight = 1.0
            return loss
        return loss * (float(of_own) / (float(of_batch) if self.accumulate == 1 else 1.0))

    def _update(self) -> None:
        """The step along the sum of all processes' gradients."""
        self.group.sum_gradients(self.model.parameters())
        super()._update()
