"""Values of fine-tuning: what it is told, what it trains on, what it gives back."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from headstart.errors import TrainingError
from headstart.evaluation.calibration import fit_temperature
from headstart.features.row_file import RowFile
from headstart.finetune.augmentation import BOTH, Augmentation
from headstart.finetune.mixing import KINDS
from headstart.freezing import FreezePolicy
from headstart.heads.head import Head
from headstart.training.records import EpochRecord

Labels = NDArray[np.int64]

Scores = NDArray[np.float64]

BATCH_NORM = ("frozen", "recalibrated", "live")
SCHEDULES = ("one-cycle", "cosine")
AVERAGES = ("none", "ema", "wise")


@dataclass(frozen=True)
class FineTuneSettings:
    """How a network is fine-tuned.

    Args:
        epochs: passes over the training images.
        lr: highest rate, relative to the root mean square of the weights; a stage that lies L before the head learns
            at `lr · stage_decay^L`.
        batch_size: images a step.
        batch_norm: `frozen`; `recalibrated` on the training images, then frozen; `live`.
        augmentation: of the training images. label_smoothing: share of each label given to all classes alike.
        cached_views: views of each image that `last_stage` keeps; the first is the image itself.
        dtype: of cached activations, `float32` or `float16`. seed: of the order, the views and dropout.
        schedule: of the rates: `one-cycle`, or `cosine` after a warm-up over a tenth of the steps.
        mix: `none`, `mixup` or `cutmix`; only where pixels are trained on.
        average: what is tried after the last step, and kept if the held-out images say so: `ema`, the average of the
            weights over the last tenth of the steps or so, `wise`, the weights between the probe's and the last.
        halvings: how often the batch is halved to fit into memory; the gradients of as many more are summed.
        mirror: whether answers with mirror images are tried after that, and kept if the held-out images say so.
        device: where the network is trained and measured; `auto` takes a GPU when there is one.
    """

    epochs: int = 8
    lr: float = 0.03
    stage_decay: float = 0.4
    weight_decay: float = 0.01
    batch_size: int = 32
    batch_norm: str = "frozen"
    augmentation: Augmentation = BOTH
    label_smoothing: float = 0.0
    cached_views: int = 4
    dtype: str = "float32"
    seed: int = 0
    schedule: str = "one-cycle"
    mix: str = "none"
    average: str = "none"
    halvings: int = 0
    flip_tta: bool = False
    device: str = "auto"

    def __post_init__(self) -> None:
        allowed = {"batch_norm": BATCH_NORM, "schedule": SCHEDULES, "mix": KINDS, "average": AVERAGES}
        for name, words in allowed.items():
            if getattr(self, name) not in words:
                raise TrainingError(
                    expected=f"{name.replace('_', ' ')} {', '.join(words)}",
                    found=repr(getattr(self, name)),
                    where="fine-tuning",
                )


@dataclass(frozen=True)
class FineTuneImages:
    """The images that a network is tuned on, as rows of prepared pixels.

    Args:
        pixels: uint8 squares of every image.
        rows: place in `pixels` of each of the N training images. labels: N.
        validation_rows: M, never trained on; they fit the temperature. validation_labels: M.
        contents: what tells the images in `pixels` apart, by place.
        class_weights: C, or None for all alike. background: that transparent ones were put on.
    """

    pixels: RowFile
    rows: Labels
    labels: Labels
    validation_rows: Labels
    validation_labels: Labels
    contents: tuple[str, ...]
    class_weights: tuple[float, ...] | None = None
    background: tuple[int, int, int] = (255, 255, 255)


@dataclass(frozen=True)
class HeldOut:
    """What a network answered on the M validation images.

    Args:
        scores: M×C. labels: M.
        accuracy: share that is right; NaN without images. temperature: the best for them; then 1. n: how many they are.
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
            return cls(scores, labels, float("nan"), 1.0, 0)
        right = float((scores.argmax(1) == labels).mean())
        return cls(scores, labels, right, fit_temperature(scores, labels).value, len(labels))

    @property
    def log_losses(self) -> Scores:
        """M: -log of the calibrated probability of each image's class."""
        losses: Scores = -log_softmax(self.scores / self.temperature, axis=1)[np.arange(self.n), self.labels]
        return losses

    @property
    def log_loss(self) -> float:
        """Their mean; NaN without images."""
        return float(self.log_losses.mean()) if self.n else float("nan")


@dataclass(frozen=True)
class Average:
    """Weights, or views, tried in place of what is there anyway, and what the validation images said of them."""

    name: str
    accuracy: float
    log_loss: float
    taken: bool

    def to_dict(self) -> dict[str, object]:
        """Plain values for run.json."""
        return asdict(self)


@dataclass(frozen=True)
class FineTuneResult:
    """What a strategy made; the backbone's weights were changed in place.

    Args:
        head: for the backbone as it is now. records: of the epochs. frozen: the policy that held.
        changed: names of frozen tensors that are not as before; must be empty.
        seconds: of training alone. cached_seconds: of filling the cache of activations.
        at_start, held_out: the validation images before the first step, as they are, and as the head answers them now.
        averages: the weights that were compared after the last step; the last ones come first.
        batch_size: images a step; smaller than asked for where memory did not suffice.
        mirror: by the weights that were taken, images as they are and with their mirror images; empty: not judged.
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
    averages: tuple[Average, ...] = ()
    batch_size: int = 0
    flip_tta: tuple[Average, ...] = ()

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
            "averages": [one.to_dict() for one in self.averages],
            "flip_tta": [one.to_dict() for one in self.flip_tta],
            "held_out": {"images": self.held_out.n, "temperature": self.held_out.temperature}
            | ({} if not self.held_out.n else {"before": self.at_start.accuracy, "after": self.held_out.accuracy}),
        }

    @property
    def proof(self) -> str:
        """`frozen part: 0 of 62 tensors changed`."""
        return f"frozen part: {len(self.changed)} of {len(self.frozen.tensors)} tensors changed"
