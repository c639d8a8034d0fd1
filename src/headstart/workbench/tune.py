"""tune: the part of `train` that goes on after the probe: prepared pixels on disk, a strategy, new features."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from headstart import runtime
from headstart.backbones.backbone import Backbone, Provenance
from headstart.data.batches import pixel_batches
from headstart.data.split import Split, split
from headstart.errors import BackboneError, DataError
from headstart.features.cache import FeatureCache
from headstart.features.row_file import RowFile, Rows, fill_rows, open_rows
from headstart.recipe import Recipe
from headstart.training.augment import Augmentation, stored_side
from headstart.training.checkpoints import Checkpoints
from headstart.training.finetune import full, last_stage, probe_then_full
from headstart.training.head_path import Labels
from headstart.training.probe import Probe
from headstart.training.records import EpochRecord, StepRecord
from headstart.training.tuning import FineTuned, TuningImages, TuningSettings
from headstart.workbench.events import Notice, Tell, Ticker
from headstart.workbench.prepare import Prepared

HELD_OUT = 0.15
"""Share of the training images that fits the temperature where there is no validation part."""

_STEPS = 150
_FEWEST, _MOST = 3, 10  # epochs
_BATCH = 32  # images a step


def epochs_of(recipe: Recipe, images: int) -> int:
    """Epochs of a fine-tuning on so many images."""
    return recipe.epochs or min(max(math.ceil(_STEPS * _BATCH / max(images, 1)), _FEWEST), _MOST)


def boundary_of(recipe: Recipe, backbone: Backbone) -> str:
    """The first stage, or module, that `last-stage` trains.

    Raises:
        BackboneError: the backbone has no such stage or module.
    """
    until = recipe.unfreeze or backbone.stages[-1]
    try:
        backbone.child_of(until)
    except BackboneError as error:
        raise BackboneError(expected=error.expected, found=error.found, where="--unfreeze", hint=error.hint) from error
    return until


@dataclass(frozen=True)
class TuningRows:
    """Indices of the images that are trained on and of those that are held out, and how that came about."""

    train: Labels
    held_out: Labels
    about: str


def tuning_rows(prepared: Prepared, parts: Split, recipe: Recipe) -> TuningRows:
    """Training and held-out images: the validation part, else some whole groups of the training part."""
    train = np.array(parts.train, dtype=np.int64)
    if parts.validation:
        return TuningRows(train, np.array(parts.validation, dtype=np.int64), "the validation part")
    try:
        inner = split(
            [prepared.labels[i] for i in train],
            [None] * len(train),
            [prepared.facts[i].content for i in train],
            [[parts.groups[i] for i in train]],
            test_share=HELD_OUT,
            seed=recipe.seed,
            classes=prepared.image_set.classes,
        )
    except DataError:  # too few images or groups to spare any
        return TuningRows(train, np.empty(0, dtype=np.int64), "no image: too few to hold any out")
    held = train[np.array(inner.test, dtype=np.int64)]
    return TuningRows(train[np.array(inner.train, dtype=np.int64)], held, f"{len(held)} training images held out")


def tuning_plan(backbone: Backbone, recipe: Recipe, rows: TuningRows | None) -> dict[str, str]:
    """What the plan says of a fine-tuning, in place of what it says of the probe."""
    if rows is None:
        return {}
    epochs = epochs_of(recipe, len(rows.train))
    until = boundary_of(recipe, backbone) if recipe.strategy == "last-stage" else ""
    norms = "" if recipe.batch_norm == "live" else f"; batch norm {recipe.batch_norm}"
    return {
        "strategy": f"{recipe.strategy}, {epochs} epochs on {len(rows.train):,} images, learning rate {recipe.lr:g}",
        "frozen": (f"everything before {until}, its output cached" if until else "no stage") + norms,
        "held out": f"{rows.about}, for the temperature",
    }


def tune(
    backbone: Backbone,
    prepared: Prepared,
    rows: TuningRows,
    labels: Labels,
    probe: Probe,
    recipe: Recipe,
    cache: FeatureCache,
    tell: Tell,
    checkpoints: Checkpoints | None,
) -> FineTuned:
    """Fine-tune the backbone, in place, by the recipe's strategy.

    Raises:
        BackboneError: there is no such boundary.
        RunError: there is no room for the cached pixels.
    """
    epochs = epochs_of(recipe, len(rows.train))
    settings = TuningSettings(
        epochs=epochs,
        lr=recipe.lr,
        batch_size=_BATCH,
        batch_norm=recipe.batch_norm,
        augmentation=Augmentation(flip=not recipe.no_flips),
        seed=recipe.seed,
    )
    images = _images(backbone, prepared, rows, labels, recipe, cache, tell)
    told = Teller(tell, epochs, epochs * math.ceil(len(rows.train) / _BATCH))
    if recipe.strategy == "last-stage":
        until, ticker = boundary_of(recipe, backbone), Ticker(tell, "cache activations", unit="views")
        tuned = last_stage(
            backbone,
            probe.head,
            images,
            settings,
            told,
            until=until,
            cache=cache,
            progress=ticker,
            checkpoints=checkpoints,
        )
    else:
        strategy = {"full": full, "probe-then-full": probe_then_full}[recipe.strategy]
        tuned = strategy(backbone, probe.head, images, settings, told, checkpoints=checkpoints)
    source = f"{backbone.weights.source}, fine-tuned here ({tuned.strategy}, {epochs} epochs)"
    backbone.weights = Provenance(source, backbone.fingerprint, backbone.weights.licence)
    tell(Notice(tuned.proof))
    return tuned


class Teller:
    """Turns the loop's records into events: progress after each step, a line after each epoch."""

    def __init__(self, tell: Tell, epochs: int, steps: int) -> None:
        self.epochs, self.steps = epochs, steps
        self._tick = Ticker(tell, "fine-tune", unit="steps")
        self._tell, self._done = tell, 0

    def __call__(self, record: StepRecord | EpochRecord) -> None:
        if isinstance(record, StepRecord):
            self._done += 1
            self._tick(self._done, self.steps)
        else:
            self._tell(Notice(str(record)))


def _images(
    backbone: Backbone,
    prepared: Prepared,
    rows: TuningRows,
    labels: Labels,
    recipe: Recipe,
    cache: FeatureCache,
    tell: Tell,
) -> TuningImages:
    wanted = np.concatenate([rows.train, rows.held_out])
    contents = tuple(dict.fromkeys(prepared.facts[i].content for i in wanted))
    place = {content: i for i, content in enumerate(contents)}
    first = {prepared.facts[i].content: prepared.samples[i].path for i in reversed(wanted)}
    pixels = _pixels(backbone, prepared, contents, [first[content] for content in contents], recipe, cache, tell)

    def places(indices: Labels) -> Labels:
        return np.array([place[prepared.facts[i].content] for i in indices], dtype=np.int64)

    counts = np.bincount(labels[rows.train], minlength=len(prepared.image_set.classes)).clip(1)  # 0: all held out
    weights = tuple((counts.sum() / (len(counts) * counts)).tolist()) if recipe.balance == "equal" else None
    return TuningImages(
        pixels, places(rows.train), labels[rows.train], places(rows.held_out), labels[rows.held_out], contents, weights
    )


def _pixels(
    backbone: Backbone,
    prepared: Prepared,
    contents: tuple[str, ...],
    paths: Sequence[Path],
    recipe: Recipe,
    cache: FeatureCache,
    tell: Tell,
) -> RowFile:
    """Every image decoded once, at the size from which the views are cut."""
    preprocess = backbone.preprocess
    side = stored_side(preprocess.resize, preprocess.crop)
    square = dataclasses.replace(preprocess, crop=side)
    about = {
        "what": "prepared pixels",
        "backbone": backbone.row.name,
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

    fill_rows(pixels, make, batch_size=128, progress=Ticker(tell, "prepare images"))
    return pixels
