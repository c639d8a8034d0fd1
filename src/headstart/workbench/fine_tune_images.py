"""Images of a fine-tuning: which are trained on, which are held out, and their prepared pixels on disk."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart.backbones.backbone import Backbone
from headstart.data.dataset import Dataset, Labels
from headstart.errors import DataError
from headstart.features.row_file import RowFile, Rows, fill_rows, open_rows
from headstart.finetune.augmentation import stored_side
from headstart.finetune.settings import FineTuneImages
from headstart.workbench.session import Session

HELD_OUT = 0.15
"""Share of the training images that fits the temperature where there is no validation split."""


@dataclass(frozen=True)
class FineTuneRows:
    """Indices of the images that are trained on and of those that are held out, and how that came about."""

    train: Labels
    held_out: Labels
    about: str


def fine_tune_rows(dataset: Dataset, seed: int, *, hold_out: bool = True) -> FineTuneRows:
    """Training and held-out images: the validation split, else some whole groups of the training split.

    Args:
        hold_out: whether training images are to be spared where there is no validation split.
    """
    train, validation = dataset.indices("train"), dataset.indices("validation")
    if len(validation):
        return FineTuneRows(train, validation, "the validation split")
    if not hold_out:
        return FineTuneRows(train, np.empty(0, dtype=np.int64), "each training image in turn, in folds")
    try:
        inner = dataset.training_only().with_split(HELD_OUT, seed)
    except DataError:  # too few images or groups to spare any
        return FineTuneRows(train, np.empty(0, dtype=np.int64), "no image: too few to hold any out")
    held = train[inner.indices("test")]
    return FineTuneRows(train[inner.indices("train")], held, f"{len(held)} training images held out")


def fine_tune_images(session: Session, backbone: Backbone, dataset: Dataset, *, rows: FineTuneRows) -> FineTuneImages:
    """The images of these rows, each decoded once.

    Raises:
        DataError: an image can no longer be read. RunError: the disk is full.
    """
    wanted = np.concatenate([rows.train, rows.held_out])
    first: dict[str, int] = {}  # content → the first image that has it
    for i in wanted:
        first.setdefault(dataset.contents[i], int(i))
    pixels = _pixels(session, backbone, dataset, first=first)
    place = {content: k for k, content in enumerate(first)}

    def places(indices: Labels) -> Labels:
        return np.array([place[dataset.contents[i]] for i in indices], dtype=np.int64)

    labels = dataset.labels
    counts = np.bincount(labels[rows.train], minlength=len(dataset.classes)).clip(1)  # 0: all held out
    equal = session.recipe.balance == "equal"
    return FineTuneImages(
        pixels=pixels,
        rows=places(rows.train),
        labels=labels[rows.train],
        validation_rows=places(rows.held_out),
        validation_labels=labels[rows.held_out],
        groups=dataset.groups()[rows.train],
        validation_groups=dataset.groups()[rows.held_out],
        contents=tuple(first),
        class_weights=tuple((counts.sum() / (len(counts) * counts)).tolist()) if equal else None,
        background=dataset.rules.background,
        bit_depth=dataset.rules.bit_depth,
    )


def _pixels(session: Session, backbone: Backbone, dataset: Dataset, *, first: dict[str, int]) -> RowFile:
    """Every image decoded once, at the size from which the views are cut."""
    preprocess = backbone.preprocess
    side = stored_side(preprocess.resize, preprocess.crop)
    square = dataclasses.replace(preprocess, crop=side)
    about = {
        "what": "prepared pixels",
        "backbone": backbone.spec.name,
        "preprocess": str(square.to_dict()),
        "background": ",".join(map(str, dataset.rules.background)),
        "bit_depth": str(dataset.rules.bit_depth),
    }
    contents, samples = tuple(first), [dataset.samples[i] for i in first.values()]
    pixels = open_rows(session.cache, about, contents, shapes=[(3, side, side)], dtype="uint8")

    def make(places: Sequence[int]) -> Rows:
        made = []
        paths, expected = [samples[i].path for i in places], [contents[i] for i in places]
        for batch in session.batches(paths, square, dataset.rules, contents=expected):
            for position, reason in batch.failures.items():
                raise DataError(
                    expected="an image that stays as it was",
                    found=reason,
                    where=samples[places[position]].path,
                )
            made.append(batch.pixels.numpy())
        return (np.concatenate(made),)

    fill_rows(pixels, make, batch_size=128, progress=session.progress("prepare images"))
    return pixels
