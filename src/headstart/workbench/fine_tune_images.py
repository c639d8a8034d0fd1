"""tuning_images: which images a fine-tuning learns from and which it holds out, and their pixels, prepared on disk."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from headstart import runtime
from headstart.backbones.backbone import Backbone
from headstart.data.batches import pixel_batches
from headstart.data.split import DataSplit, SplitInput, make_split
from headstart.errors import DataError
from headstart.features.cache import FeatureCache
from headstart.features.row_file import RowFile, Rows, fill_rows, open_rows
from headstart.finetune.augmentation import stored_side
from headstart.finetune.settings import FineTuneImages
from headstart.heads.regularization_path import Labels
from headstart.progress import OnEvent, ProgressReporter
from headstart.recipe import Recipe
from headstart.workbench.prepare import Prepared

HELD_OUT = 0.15
"""Share of the training images that fits the temperature where there is no validation part."""


@dataclass(frozen=True)
class FineTuneRows:
    """Indices of the images that are trained on and of those that are held out, and how that came about."""

    train: Labels
    held_out: Labels
    about: str


def fine_tune_rows(prepared: Prepared, parts: DataSplit, recipe: Recipe) -> FineTuneRows:
    """Training and held-out images: the validation part, else some whole groups of the training part."""
    train = np.array(parts.train, dtype=np.int64)
    if parts.validation:
        return FineTuneRows(train, np.array(parts.validation, dtype=np.int64), "the validation part")
    try:
        samples = SplitInput(
            labels=[prepared.labels[i] for i in train],
            splits=[None] * len(train),
            contents=[prepared.facts[i].content for i in train],
            classes=prepared.image_set.classes,
            groupings=[[parts.groups[i] for i in train]],
        )
        inner = make_split(samples, test_share=HELD_OUT, seed=recipe.seed)
    except DataError:  # too few images or groups to spare any
        return FineTuneRows(train, np.empty(0, dtype=np.int64), "no image: too few to hold any out")
    held = train[np.array(inner.test, dtype=np.int64)]
    return FineTuneRows(train[np.array(inner.train, dtype=np.int64)], held, f"{len(held)} training images held out")


def fine_tune_images(
    backbone: Backbone,
    prepared: Prepared,
    rows: FineTuneRows,
    labels: Labels,
    recipe: Recipe,
    cache: FeatureCache,
    on_event: OnEvent,
) -> FineTuneImages:
    """The images of these rows, each decoded once.

    Raises:
        DataError: an image can no longer be read. RunError: there is no room for the cached pixels.
    """
    wanted = np.concatenate([rows.train, rows.held_out])
    contents = tuple(dict.fromkeys(prepared.facts[i].content for i in wanted))
    place = {content: i for i, content in enumerate(contents)}
    first = {prepared.facts[i].content: prepared.samples[i].path for i in reversed(wanted)}
    pixels = _pixels(backbone, prepared, contents, [first[content] for content in contents], recipe, cache, on_event)

    def places(indices: Labels) -> Labels:
        return np.array([place[prepared.facts[i].content] for i in indices], dtype=np.int64)

    counts = np.bincount(labels[rows.train], minlength=len(prepared.image_set.classes)).clip(1)  # 0: all held out
    weights = tuple((counts.sum() / (len(counts) * counts)).tolist()) if recipe.balance == "equal" else None
    return FineTuneImages(
        pixels,
        places(rows.train),
        labels[rows.train],
        places(rows.held_out),
        labels[rows.held_out],
        contents,
        weights,
        prepared.rules.background,
    )


def _pixels(
    backbone: Backbone,
    prepared: Prepared,
    contents: tuple[str, ...],
    paths: Sequence[Path],
    recipe: Recipe,
    cache: FeatureCache,
    on_event: OnEvent,
) -> RowFile:
    """Every image decoded once, at the size from which the views are cut."""
    preprocess = backbone.preprocess
    side = stored_side(preprocess.resize, preprocess.crop)
    square = dataclasses.replace(preprocess, crop=side)
    about = {
        "what": "prepared pixels",
        "backbone": backbone.spec.name,
        "preprocess": str(square.to_dict()),
        "background": ",".join(map(str, prepared.rules.background)),
    }
    pixels = open_rows(cache, about, contents, [(3, side, side)], "uint8")

    def make(places: Sequence[int]) -> Rows:
        sources = [paths[i] for i in places]
        workers = recipe.workers or runtime.cores()
        stream = pixel_batches(sources, square.prepare, rules=prepared.rules, batch_size=len(sources), workers=workers)
        batches = list(stream)
        for batch in batches:
            for position, reason in batch.failures.items():
                raise DataError(
                    expected="an image that could be read a moment ago", found=reason, where=sources[position]
                )
        return (torch.cat([batch.pixels for batch in batches]).numpy(),)

    fill_rows(pixels, make, batch_size=128, progress=ProgressReporter(on_event, "prepare images"))
    return pixels
