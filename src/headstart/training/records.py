"""What the loop reports: a record after each step of the optimiser and each epoch, and lines printed after epochs."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import TextIO

from headstart.plain import Plain

QUIET = 2.0  # seconds: a shorter training prints nothing
APART = 0.5  # seconds between lines: tiny epochs would flood the terminal


@dataclass(frozen=True)
class StepRecord(Plain):
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


@dataclass(frozen=True)
class EpochRecord(Plain):
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

    def __str__(self) -> str:
        words = [f"epoch {self.epoch}", f"loss {self.loss:.4f}"]
        if self.val_loss is not None:
            words.append(f"val_loss {self.val_loss:.4f}")
        words += [f"{name} {value:.4f}" for name, value in self.metrics.items()]
        words += [f"val_{name} {value:.4f}" for name, value in self.val_metrics.items()]
        if self.rates:
            words.append("lr " + ", ".join(f"{rate:.3g}" for rate in dict.fromkeys(self.rates)))
        return " · ".join([*words, f"{self.seconds:.1f} s", *(["best"] if self.best else [])])


class ProgressLines:
    """Lines on stderr, so that a script's own output stays clean.

    Args:
        epochs: to come. show: True: a line for every epoch; False: none; None: none in the first
            two seconds, then two a second at most.
    """

    def __init__(self, epochs: int, show: bool | None, out: TextIO | None = None) -> None:
        self.epochs = epochs
        self.show = show
        self.out = out or sys.stderr
        self.done = 0
        self.began = time.monotonic()
        self.latest = self.began

    def show_epoch(self, record: EpochRecord) -> None:
        """Print an epoch, if it is time to."""
        self.done += 1
        now = time.monotonic()
        if self.show is False or (self.show is None and not self._is_due(now)):
            return
        self.latest = now
        left = (now - self.began) / self.done * (self.epochs - self.done)
        print(f"{record} · {_clock(left)} left" if left else str(record), file=self.out, flush=True)

    def _is_due(self, now: float) -> bool:
        if now - self.began < QUIET:
            return False
        return now - self.latest >= APART or self.done == self.epochs


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}" if minutes else f"{rest} s"
