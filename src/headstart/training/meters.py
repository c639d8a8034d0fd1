"""Means over samples while batches go by: of the loss, and of any metric the user names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from headstart.errors import TrainingError
from headstart.public_api import public_api
from headstart.training.batch import logits_of
from headstart.training.loss_weight import SUM, Weight

Function = Callable[[Tensor, Any], Tensor | float]


@runtime_checkable
class Accumulating(Protocol):
    """A metric with its own memory, such as those of torchmetrics; computed on the validation loader only."""

    def update(self, outputs: Any, y: Any, /) -> None:
        """Add a batch."""
        ...

    def compute(self) -> Any:
        """The value over all batches since the latest reset."""
        ...

    def reset(self) -> None:
        """Reset to no batch."""
        ...


Metric = Function | Accumulating


@dataclass
class Mean:
    """A mean weighted by numbers of samples; or, as the book has it, a plain mean of the batches' means."""

    weighted: bool = True
    total: float = 0.0
    weight: float = 0
    samples: int = 0

    def add(self, value: float, samples: int, weight: Weight | None = None) -> None:
        """Add the mean of a batch.

        Args:
            weight: what the batch's sum was divided by, if not its samples; `SUM`: by nothing, and sums are added.
        """
        self.samples += samples
        if weight == SUM and self.weighted:
            self.total, self.weight = self.total + value, 1
            return
        share = 1 if not self.weighted else samples if weight is None else float(weight)
        if share:  # the mean of a batch whose targets are all ignored is 0 / 0
            self.total += value * share
            self.weight += share

    @property
    def value(self) -> float:
        """The mean; NaN before the first batch."""
        return self.total / self.weight if self.weight else float("nan")


@dataclass
class Meters:
    """The metrics of one pass over a loader.

    Args:
        metrics: name → function of (logits, target) that gives a value for each sample or their mean, or a metric with
            its own memory.
        accumulate: whether those with a memory are updated.
    """

    metrics: Mapping[str, Metric]
    accumulate: bool
    means: dict[str, Mean] = field(default_factory=dict)

    def start(self) -> None:
        """Reset all metrics."""
        self.means = {name: Mean() for name, metric in self.metrics.items() if not isinstance(metric, Accumulating)}
        for metric in self._accumulating().values():
            metric.reset()

    @torch.no_grad()
    def add(self, outputs: Any, y: Any, samples: int) -> None:
        """Add a batch."""
        if not self.metrics:  # then outputs may be anything that the loss knows, such as several maps
            return
        logits = logits_of(outputs).detach()
        for name, mean in self.means.items():
            mean.add(_mean_of(name, self.metrics[name](logits, y)), samples)  # type: ignore[operator]
        for metric in self._accumulating().values():
            metric.update(logits, y)

    def values(self) -> dict[str, float]:
        """Name → value over the whole pass, in the order in which they were named."""
        own = {name: float(metric.compute()) for name, metric in self._accumulating().items()}
        found = {**{name: mean.value for name, mean in self.means.items()}, **own}
        return {name: found[name] for name in self.metrics if name in found}

    def _accumulating(self) -> dict[str, Accumulating]:
        if not self.accumulate:
            return {}
        return {name: metric for name, metric in self.metrics.items() if isinstance(metric, Accumulating)}


@public_api
def accuracy(logits: Tensor, y: Tensor) -> Tensor:
    """1 for each correct sample, else 0: arg max over classes, or the sign of a single logit.

    A target of probabilities N×C, as mixed images have, counts as its most probable class.
    """
    if logits.dim() > 1 and logits.shape[1] > 1:
        return (logits.argmax(1) == (y.argmax(1) if y.dim() > 1 else y)).float()
    return ((logits.reshape(-1) > 0) == (y.reshape(-1) > 0.5)).float()


def _mean_of(name: str, value: Any) -> float:
    try:
        tensor = torch.as_tensor(value, dtype=torch.float64)
        found = "" if tensor.dim() < 2 else f"a tensor of shape {tuple(tensor.shape)}"
    except (TypeError, ValueError, RuntimeError):
        found = f"{value!r:.60}"
    if found:
        raise TrainingError(
            expected="one value for each sample, or their mean",
            found=found,
            where=f"metric {name}",
            hint="A metric is a function of (logits, target) that returns numbers, such as headstart.accuracy.",
        )
    return float(tensor.mean())
