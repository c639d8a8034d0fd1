"""Values of fine-tuning: what it is told, what it trains on, what it gives back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.classifier.classifier import Head
from headstart.errors import TrainingError
from headstart.features.row_file import RowFile
from headstart.freezing import FreezePolicy
from headstart.training.augment import BOTH, Augmentation
from headstart.training.records import EpochRecord

Labels = NDArray[np.int64]

BATCH_NORM = ("frozen", "recalibrated", "live")


@dataclass(frozen=True)
class TuningSettings:
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

    def __post_init__(self) -> None:
        if self.batch_norm not in BATCH_NORM:
            raise TrainingError(
                expected=f"batch norm {', '.join(BATCH_NORM)}", found=repr(self.batch_norm), where="fine-tuning"
            )


@dataclass(frozen=True)
class TuningImages:
    """The images that a network is tuned on, as rows of prepared pixels.

    Args:
        pixels: uint8 squares of every image.
        rows: place in `pixels` of each of the N training images. labels: N.
        validation_rows: M, never trained on; they fit the temperature. validation_labels: M.
        contents: what tells the images in `pixels` apart, by place.
        class_weights: C, or None for all alike.
    """

    pixels: RowFile
    rows: Labels
    labels: Labels
    validation_rows: Labels
    validation_labels: Labels
    contents: tuple[str, ...]
    class_weights: tuple[float, ...] | None = None


@dataclass(frozen=True)
class HeldOut:
    """The validation images: share that is right (NaN without images), best temperature (then 1), how many they are."""

    accuracy: float
    temperature: float
    n: int


@dataclass(frozen=True)
class FineTuned:
    """What a strategy made; the backbone's weights were changed in place.

    Args:
        head: for the backbone as it is now. records: of the epochs. frozen: the policy that held.
        changed: names of frozen tensors that are not as before; must be empty.
        seconds: of training alone. cached_seconds: of filling the cache of activations.
        at_start, held_out: the validation images before the first step and after the last.
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

    def to_dict(self) -> dict[str, object]:
        """Plain values for run.json."""
        return {
            "strategy": self.strategy,
            "epochs": [record.to_dict() for record in self.records],
            "frozen": list(self.frozen.modules),
            "proof": self.proof,
            "seconds": self.seconds,
            "cached_seconds": self.cached_seconds,
            "held_out": {"images": self.held_out.n, "temperature": self.held_out.temperature}
            | ({} if not self.held_out.n else {"before": self.at_start.accuracy, "after": self.held_out.accuracy}),
        }

    @property
    def proof(self) -> str:
        """`frozen part: 0 of 62 tensors changed`."""
        return f"frozen part: {len(self.changed)} of {len(self.frozen.tensors)} tensors changed"
