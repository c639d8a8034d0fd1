"""What a fine-tuning gets: its settings, its images, and the task that holds both with the network to train."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from headstart.backbones.backbone import Backbone
from headstart.errors import TrainingError
from headstart.features.cache import FeatureCache
from headstart.features.row_file import RowFile
from headstart.finetune.augmentation import BOTH, MIXES, Augmentation
from headstart.heads.head import Head
from headstart.progress import OnProgress, no_progress
from headstart.training.checkpoint_folder import CheckpointFolder
from headstart.training.process_group import ProcessGroup
from headstart.training.records import EpochRecord, StepRecord

Labels = NDArray[np.int64]
Report = Callable[[StepRecord | EpochRecord | str], None]
"""Called with the record of each step and epoch, and with sentences for the user."""
Solve = Callable[[Labels], Head]

BATCH_NORM = ("frozen", "recalibrated", "live")
SCHEDULES = ("one-cycle", "cosine")
AVERAGES = ("none", "ema", "wise")
PLAIN = "float32"
CHANNELS_LAST = "float32 channels last"
BFLOAT16 = "bfloat16 channels last"
FORMS = (PLAIN, CHANNELS_LAST, BFLOAT16)


@dataclass(frozen=True, kw_only=True)
class FineTuneSettings:
    """How a network is fine-tuned.

    Args:
        epochs: passes over the training images.
        lr: highest learning rate, relative to the root mean square of the weights; a stage that lies L before the head
            has `lr · stage_decay^L`.
        batch_size: images a step.
        batch_norm: `frozen`; `recalibrated` on the training images, then frozen; `live`.
        augmentation: of the training images. label_smoothing: share of each label that is spread over all classes.
        cached_views: views of each image that `last_stage` caches; the first is the image itself.
        dtype: of cached activations, `float32` or `float16`. seed: of the order, the views and dropout.
        schedule: of the learning rates: `one-cycle`, or `cosine` after a warm-up over a tenth of the steps.
        mix: `none`, `mixup` or `cutmix`; only where pixels are trained on.
        average: weights that are tried after the last step, and kept if the held-out images say so: `ema`, the average
            over the last tenth of the steps or so, `wise`, weights between those at the start and the last ones.
        halvings: how often the batch is halved to fit into memory; the gradients of as many more are summed.
        flip_tta: whether flip TTA is tried after that, and kept if the held-out images say so.
        form: of a step: `float32`, `float32 channels last` or `bfloat16 channels last`; see `choose_form`.
        device: where the network is trained and measured; `auto` takes a GPU when there is one.

    Raises:
        TrainingError: a word is unknown.
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
    form: str = PLAIN
    device: str = "auto"

    def __post_init__(self) -> None:
        allowed = {"batch_norm": BATCH_NORM, "schedule": SCHEDULES, "mix": MIXES, "average": AVERAGES, "form": FORMS}
        for name, words in allowed.items():
            if getattr(self, name) not in words:
                raise TrainingError(
                    expected=f"{name.replace('_', ' ')} {', '.join(words)}",
                    found=repr(getattr(self, name)),
                    where="fine-tuning",
                )

    def check_strategy(self, strategy: str) -> None:
        """Refuse what a strategy cannot do.

        Raises:
            TrainingError: `wise` without a solved head at the start, or mixed pixels where activations are cached.
        """
        if self.average == "wise" and strategy == "full":
            raise TrainingError(
                expected="a strategy that starts from a solved head: last-stage or probe-then-full",
                found="full, whose head starts at zero",
                where="average wise",
                hint="Use --average ema, or --strategy probe-then-full.",
            )
        if self.mix != "none" and strategy == "last-stage":
            raise TrainingError(
                expected="a strategy that trains on pixels: full or probe-then-full",
                found="last-stage, which trains on cached activations",
                where=f"mix {self.mix}",
                hint="Leave --mix out, or use --strategy probe-then-full.",
            )


@dataclass(frozen=True, kw_only=True)
class FineTuneImages:
    """The images of a fine-tuning, as rows of prepared pixels.

    Args:
        pixels: uint8 squares of every image.
        rows: row in `pixels` of each of the N training images. labels: N.
        validation_rows: M, never trained on; they fit the temperature. validation_labels: M.
        groups: N, validation_groups: M; images of one group are not independent. None: each image is one.
        contents: hash of the content of each row in `pixels`.
        class_weights: C; None: all 1. background: RGB under transparent images.
        bit_depth: of the values in 16-bit files.
    """

    pixels: RowFile
    rows: Labels
    labels: Labels
    validation_rows: Labels
    validation_labels: Labels
    contents: tuple[str, ...]
    groups: Labels | None = None
    validation_groups: Labels | None = None
    class_weights: tuple[float, ...] | None = None
    background: tuple[int, int, int] = (255, 255, 255)
    bit_depth: int = 16

    def fold(self, train: Labels, held_out: Labels) -> FineTuneImages:
        """The training images of some positions; those of other positions take the place of the held-out images."""
        return replace(
            self,
            rows=self.rows[train],
            labels=self.labels[train],
            groups=None if self.groups is None else self.groups[train],
            validation_rows=self.rows[held_out],
            validation_labels=self.labels[held_out],
            validation_groups=None if self.groups is None else self.groups[held_out],
        )


def no_report(record: StepRecord | EpochRecord | str) -> None:
    """Ignore a record."""


@dataclass(frozen=True, kw_only=True)
class FineTuneTask:
    """One fine-tuning: what is trained, on what, how, and where its progress goes.

    Args:
        backbone: trained in place. head: the network's own head starts with it.
        solve: positions of training images → the head that they alone give, with which a fold starts; None: no fold is
            trained, since the head has seen all of them.
        until: of `last_stage`: the first stage, or module, that trains. cache: for activations at that boundary.
        checkpoints: written on the way; where there are some, training is resumed from them.
        report: called with records and sentences. progress: called with (activations cached, activations to cache).
        fold_progress: called with (trainings done, trainings to do) while folds are trained.
        group: the processes that train together, each with a task of its own; None: this one alone.
    """

    backbone: Backbone
    head: Head
    images: FineTuneImages
    settings: FineTuneSettings
    solve: Solve | None = None
    until: str = ""
    cache: FeatureCache | None = None
    checkpoints: CheckpointFolder | None = None
    report: Report = no_report
    progress: OnProgress = no_progress
    fold_progress: OnProgress = no_progress
    group: ProcessGroup | None = None
