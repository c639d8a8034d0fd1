"""What a fine-tuning made, measured on held-out images: before, after, and whether it was worth it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from headstart.evaluation.calibration import fit_temperature
from headstart.evaluation.intervals import Interval, Resampling, bootstrap
from headstart.freezing import FreezePolicy
from headstart.heads.head import Head
from headstart.plain import Plain
from headstart.training.records import EpochRecord
from headstart.wording import counted, percent

Labels = NDArray[np.int64]

Scores = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Scores of a network on the M held-out images.

    Args:
        scores: M×C. labels: M.
        accuracy: NaN without images. temperature: the best for them; 1 without images. n: how many there are.
    """

    scores: Scores = field(repr=False, compare=False)
    labels: Labels = field(repr=False, compare=False)
    accuracy: float
    temperature: float
    n: int

    @classmethod
    def of(cls, scores: Scores, labels: Labels) -> HeldOut:
        """Measured from scores."""
        if not len(labels):
            return cls(scores=scores, labels=labels, accuracy=float("nan"), temperature=1.0, n=0)
        return cls(
            scores=scores,
            labels=labels,
            accuracy=float((scores.argmax(1) == labels).mean()),
            temperature=fit_temperature(scores, labels).value,
            n=len(labels),
        )

    @property
    def log_losses(self) -> Scores:
        """M: -log of the calibrated probability of each image's class."""
        losses: Scores = -log_softmax(self.scores / self.temperature, axis=1)[np.arange(self.n), self.labels]
        return losses

    @property
    def log_loss(self) -> float:
        """Mean of the log losses; NaN without images."""
        return float(self.log_losses.mean()) if self.n else float("nan")


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
        at_start, held_out: the held-out images before the first step, and as the head scores them now.
        averages: the weights that were compared after the last step; the last ones come first.
        batch_size: images in a forward pass; smaller than asked for where memory did not suffice.
        flip_tta: with the weights that were taken, scores without and with flips; empty: not compared.
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
            "held_out": {"images": self.held_out.n, "temperature": self.held_out.temperature}
            | ({} if not self.held_out.n else {"before": self.at_start.accuracy, "after": self.held_out.accuracy}),
        }

    @property
    def proof(self) -> str:
        """`frozen weights: 0 of 62 tensors changed`."""
        return f"frozen weights: {len(self.changed)} of {len(self.frozen.tensors)} tensors changed"

    def gain(self, groups: Sequence[str], seed: int) -> tuple[Interval, bool]:
        """By how much the log loss fell, with its interval, and whether that is enough to keep the fine-tuned network.

        Enough is: the whole 95 % interval lies above zero, and the accuracy is not lower than before.

        Args:
            groups: of the held-out images; those of one group are drawn together.
        """
        gain = self.at_start.log_losses - self.held_out.log_losses
        resampling = Resampling(n=len(gain), groups=groups, seed=seed)
        interval = bootstrap(lambda index: float(gain[index].mean()), resampling)
        return interval, interval.low > 0 and self.held_out.accuracy >= self.at_start.accuracy

    @property
    def harm(self) -> str:
        """A sentence where the log loss on the held-out images rose; empty where it did not, or where none is held out.

        Empty for `full` as well, which starts from an empty head.
        """
        before, after = self.at_start, self.held_out
        if not after.n or self.strategy == "full" or not after.log_loss > before.log_loss:
            return ""
        return (
            f"Fine-tuning made {counted(after.n, 'held-out image')} worse: accuracy {percent(before.accuracy)} → "
            f"{percent(after.accuracy)}, log loss {before.log_loss:.3f} → {after.log_loss:.3f}. "
            "Lower --lr, or use --strategy auto."
        )
