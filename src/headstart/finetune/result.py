"""What a fine-tuning made, measured on held-out images: before, after, and whether it was worth it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from headstart.evaluation.calibration import Temperature, fit_temperature
from headstart.evaluation.design_effect import shared_groups
from headstart.evaluation.intervals import Interval, mean_interval
from headstart.freezing import FreezePolicy
from headstart.heads.cross_validation import group_folds
from headstart.heads.head import Head
from headstart.plain import Plain
from headstart.training.records import EpochRecord
from headstart.wording import counted, percent

Labels = NDArray[np.int64]

Scores = NDArray[np.float64]


SHRINK = 0.5
"""Standard deviation of log T around 0 that a temperature after fine-tuning is shrunk by: cross-entropy has calibrated
the logits already, so that T between 0.4 and 2.7 is usual. On 23 images this halves the loss that a bad T costs."""


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Scores of a network on the M held-out images.

    Args:
        scores: M×C. labels: M. groups: M; images of one group are not independent. None: each image is one.
        accuracy: NaN without images. fitted: the temperature that suits them; None without images. n: how many.
        log_losses: M, -log of the calibrated probability of each image's class, with a temperature that was fitted
            without its fold of images: on few images the one that was fitted on them would flatter.
    """

    scores: Scores = field(repr=False, compare=False)
    labels: Labels = field(repr=False, compare=False)
    accuracy: float
    fitted: Temperature | None
    n: int
    log_losses: Scores = field(repr=False, compare=False)
    groups: Labels | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, scores: Scores, labels: Labels, groups: Labels | None = None) -> HeldOut:
        """Measured from scores.

        Args:
            groups: M; images of one group are in one fold. None: each image alone.
        """
        if not len(labels):
            none: Scores = np.empty(0)
            return cls(scores=scores, labels=labels, accuracy=float("nan"), fitted=None, n=0, log_losses=none)
        return cls(
            scores=scores,
            labels=labels,
            accuracy=float((scores.argmax(1) == labels).mean()),
            fitted=fit_temperature(scores, labels, shrink=SHRINK),
            n=len(labels),
            log_losses=_cross_fitted(scores, labels, np.arange(len(labels)) if groups is None else groups),
            groups=groups,
        )

    @property
    def temperature(self) -> float:
        """The temperature; 1 without images."""
        return 1.0 if self.fitted is None else self.fitted.value

    @property
    def log_loss(self) -> float:
        """Mean of the log losses; NaN without images."""
        return float(self.log_losses.mean()) if self.n else float("nan")


def _cross_fitted(scores: Scores, labels: Labels, groups: Labels) -> Scores:
    """M log losses, each image with the temperature of the other folds; 1 where there is no other fold."""
    folds, temperatures = group_folds(labels, groups), np.ones(len(labels))
    for fold in range(int(folds.max()) + 1):
        others = folds != fold
        if others.any():
            temperatures[~others] = fit_temperature(scores[others], labels[others], shrink=SHRINK).value
    losses: Scores = -log_softmax(scores / temperatures[:, None], axis=1)[np.arange(len(labels)), labels]
    return losses


@dataclass(frozen=True)
class Variant(Plain):
    """Weights, or views, that were tried after the last step, with their score on the held-out images."""

    name: str
    accuracy: float
    log_loss: float
    taken: bool


@dataclass(frozen=True, kw_only=True)
class FineTuneResult:
    """What a strategy made; the backbone's weights were changed in place.

    Args:
        head: for the backbone as it is now. records: of the epochs. frozen: the policy that held.
        changed: names of frozen tensors that are not as before; must be empty.
        seconds: of training alone. cached_seconds: of filling the cache of activations.
        at_start, held_out: the held-out images as the head scores them that the fine-tuning was given, and now.
        averages: the weights that were compared after the last step; the last ones come first.
        batch_size: images in a forward pass; smaller than asked for where memory did not suffice.
        flip_tta: with the weights that were taken, scores without and with flips; empty: not compared.
        from_folds: the temperature, where it was fitted on the scores of all folds instead of the held-out images.
    """

    strategy: str
    head: Head
    records: tuple[EpochRecord, ...]
    frozen: FreezePolicy
    changed: tuple[str, ...]
    seconds: float
    cached_seconds: float
    at_start: HeldOut
    held_out: HeldOut
    averages: tuple[Variant, ...] = ()
    batch_size: int = 0
    flip_tta: tuple[Variant, ...] = ()
    from_folds: Temperature | None = None

    @property
    def fitted(self) -> Temperature | None:
        """The temperature of the head, as it was fitted; None where there were no images for it."""
        return self.from_folds or self.held_out.fitted

    def to_dict(self) -> dict[str, object]:
        """Plain values for run.json."""
        return {
            "strategy": self.strategy,
            "epochs": [record.to_dict() for record in self.records],
            "frozen": list(self.frozen.modules),
            "proof": self.proof,
            "seconds": self.seconds,
            "cached_seconds": self.cached_seconds,
            "batch_size": self.batch_size,
            "averages": [variant.to_dict() for variant in self.averages],
            "flip_tta": [variant.to_dict() for variant in self.flip_tta],
            "held_out": self._held_out,
        }

    @property
    def _held_out(self) -> dict[str, object]:
        held, fitted = self.held_out, self.fitted
        shown: dict[str, object] = {"images": held.n, "temperature": 1.0 if fitted is None else fitted.value}
        if fitted is None:
            return shown
        interval = {"temperature_interval": [fitted.low, fitted.high], "temperature_at_bound": fitted.at_bound}
        shown |= interval
        return shown if not held.n else {**shown, "before": self.at_start.accuracy, "after": held.accuracy}

    @property
    def proof(self) -> str:
        """`frozen weights: 0 of 62 tensors changed`."""
        return f"frozen weights: {len(self.changed)} of {len(self.frozen.tensors)} tensors changed"

    def gain(self, groups: Sequence[str]) -> tuple[Interval, bool]:
        """By how much the log loss fell, with its interval, and whether that is enough to keep the fine-tuned network.

        Enough is: the whole 95 % interval lies above zero, and the accuracy is not lower than before.

        Args:
            groups: of the held-out images; those of one group are not independent.
        """
        interval = mean_interval(self.at_start.log_losses - self.held_out.log_losses, shared_groups(groups))
        return interval, interval.low > 0 and self.held_out.accuracy >= self.at_start.accuracy

    def calibrated_by(self, fitted: Temperature) -> FineTuneResult:
        """The same network with a temperature that was fitted on the scores of all folds."""
        return replace(self, head=replace(self.head, temperature=fitted.value), from_folds=fitted)

    @property
    def is_worse(self) -> bool:
        """Whether the same held-out images are classified worse than at the start; False where none are held out.

        Worse is: a higher mean log loss, or a lower accuracy.
        """
        before, after = self.at_start, self.held_out
        return bool(after.n) and (after.log_loss > before.log_loss or after.accuracy < before.accuracy)

    @property
    def harm(self) -> str:
        """A sentence where the log loss on the held-out images rose; empty where it did not, or none is held out."""
        before, after = self.at_start, self.held_out
        if not after.n or not after.log_loss > before.log_loss:
            return ""
        return (
            f"{self.strategy} made {counted(after.n, 'held-out image')} worse: accuracy {percent(before.accuracy)} → "
            f"{percent(after.accuracy)}, log loss {before.log_loss:.3f} → {after.log_loss:.3f}"
        )
