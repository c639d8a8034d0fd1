"""What the loop tells as it runs: a record after each step of the optimiser, and one after each epoch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class StepRecord:
    """One step of the optimiser.

    Args:
        epoch: that is under way, from 1. step: batches done in it. loss: of the latest batch, mean over its samples.
        rates: learning rate of each parameter group, as used in this step.
        norm: of all gradients before they were clipped; None where norms are not clipped.
    """

    epoch: int
    step: int
    loss: float
    rates: tuple[float, ...]
    norm: float | None = None

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class EpochRecord:
    """One finished epoch.

    Args:
        epoch: its number over the whole life of the model, from 1.
        loss: mean over the training samples, each as seen during the epoch. val_loss: over the validation samples.
        metrics: name → mean over the training samples. val_metrics: name → value on the validation samples.
        rates: learning rate of each parameter group at its end.
        seconds: it took. samples: it trained on. best: whether it is the best so far, where that is kept.
    """

    epoch: int
    loss: float
    val_loss: float | None
    metrics: dict[str, float] = field(default_factory=dict)
    val_metrics: dict[str, float] = field(default_factory=dict)
    rates: tuple[float, ...] = ()
    seconds: float = 0.0
    samples: int = 0
    best: bool = False

    def value(self, monitor: str) -> float | None:
        """A number by its name: `loss`, `val_loss`, a metric, or `val_` and a metric; None where there is none."""
        named = {
            **self.metrics,
            **{f"val_{name}": value for name, value in self.val_metrics.items()},
            "loss": self.loss,
            "val_loss": self.val_loss,
        }
        return named.get(monitor)

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        parts = [f"epoch {self.epoch}", f"loss {self.loss:.4f}"]
        if self.val_loss is not None:
            parts.append(f"val_loss {self.val_loss:.4f}")
        parts += [f"{name} {value:.4f}" for name, value in self.metrics.items()]
        parts += [f"val_{name} {value:.4f}" for name, value in self.val_metrics.items()]
        if self.rates:
            parts.append("lr " + ", ".join(f"{rate:.3g}" for rate in dict.fromkeys(self.rates)))
        return " · ".join([*parts, f"{self.seconds:.1f} s", *(["best"] if self.best else [])])
