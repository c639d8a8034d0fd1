"""ParallelLoop: StepByStep in several processes, with the losses and steps of one.

Batches come as (this process's rows, targets of the whole batch). torch's DistributedDataParallel takes the mean of the
processes' gradients. A rank's loss counts by its share of what the whole batch's loss is divided by, times the number
of processes, so that this mean is the whole batch's gradient: no row is repeated to make shares equal, and a last batch
that cannot be divided gives the same step as in one process.
"""

from __future__ import annotations

import inspect
from contextlib import nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from headstart.training.batch import logits_of, loss_of, run_model, size_of
from headstart.training.loss_weight import SUM, loss_weight
from headstart.training.process_group import ProcessGroup
from headstart.training.stepbystep import StepByStep, StepFunction
from headstart.training.synced_batch_norm import SyncedBatchNorm

_PARAMETERS = inspect.signature(DistributedDataParallel).parameters  # torch 2.15 warns of the older name
_BUFFERS_STAY: dict[str, Any] = {
    "forward_sync_buffers" if "forward_sync_buffers" in _PARAMETERS else "broadcast_buffers": False
}


class ParallelLoop(StepByStep):
    """A StepByStep whose batches are shared out; losses, records and metrics are of the whole batch in every process.

    Args:
        group: the processes. live: whether batch norm takes statistics of the batch, which are then of the whole one.
        args, options: of StepByStep.
    """

    def __init__(self, *args: Any, group: ProcessGroup, live: bool = False, **options: Any) -> None:
        self.group, self.live = group, live
        super().__init__(*args, **options)
        with group.others():
            # find_unused_parameters: a layer that a network of the user leaves out has no gradient, as in one process;
            # and it keeps the buckets of the first step, whose sums after a resume would else have another order
            self._shared = DistributedDataParallel(
                self.model,
                process_group=dist.new_group() if live else None,  # live batch norm sends messages in between
                find_unused_parameters=True,
                **_BUFFERS_STAY,
            )

    def _make_train_step_fn(self) -> StepFunction:
        """Function (own rows, targets of the whole batch) → loss of the whole batch."""

        def perform_train_step_fn(x: Any, y: Any) -> float:
            self.train_mode()
            if not self._waiting_batches:
                self.optimizer.zero_grad()
            own = self.group.own(y)
            synced = SyncedBatchNorm(idle=not len(own)) if self.live else nullcontext()
            with self._reproducible():
                with self.group.others(with_work=True), self.autocast(), synced:
                    outputs = logits_of(run_model(self._shared, x))
                    part = self._part(outputs, own, y)
                with self.group.others(with_work=True):
                    torch.autograd.backward(part * self.group.size)
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
