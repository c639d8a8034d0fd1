"""The best epoch so far: by which number, its weights, and when to stop waiting for a better one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from headstart.errors import TrainingError
from headstart.training.records import EpochRecord


@dataclass
class BestModel:
    """Keeps the weights of the best epoch, on the CPU.

    Args:
        monitor: number of an EpochRecord: `val_loss`, `loss`, a metric, `val_` and a metric.
        smaller_is_better: True for losses.
        min_delta: by how much a better epoch must be better.
        patience: epochs without a better one after which to stop; None: never.
    """

    monitor: str
    smaller_is_better: bool
    min_delta: float = 0.0
    patience: int | None = None
    epoch: int = 0
    value: float | None = None
    waited: int = 0
    state: dict[str, Tensor] = field(default_factory=dict)

    def update(self, record: EpochRecord, model: nn.Module) -> bool:
        """Record an epoch; True if it is the best so far.

        Raises:
            TrainingError: the record has no such number.
        """
        value = record.value(self.monitor)
        if value is None:
            known = ["loss", *record.metrics, *(f"val_{name}" for name in record.val_metrics)]
            raise TrainingError(
                expected=f"one of {', '.join([*known, 'val_loss'])}",
                found=repr(self.monitor),
                where="monitor",
                hint="Numbers that begin with val_ need a validation loader.",
            )
        if not self._is_better(value):
            self.waited += 1
            return False
        self.epoch, self.value, self.waited = record.epoch, value, 0
        self.state = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
        return True

    @property
    def exhausted(self) -> bool:
        """Whether patience has run out."""
        return self.patience is not None and self.waited >= self.patience

    def to_state(self) -> dict[str, Any]:
        """Everything, for a checkpoint."""
        return dict(vars(self))

    def _is_better(self, value: float) -> bool:
        if value != value:  # NaN is never better
            return False
        if self.value is None:
            return True
        gain = self.value - value if self.smaller_is_better else value - self.value
        return gain > self.min_delta


def smaller_is_better(monitor: str, mode: str | None) -> bool:
    """Direction of a number: `mode` if given; else losses and errors are better when smaller, all others when larger.

    Raises:
        TrainingError: the mode is neither.
    """
    if mode not in (None, "min", "max"):
        raise TrainingError(expected="mode 'min' or 'max'", found=repr(mode), where="monitor")
    return mode == "min" if mode else any(word in monitor for word in ("loss", "error"))
