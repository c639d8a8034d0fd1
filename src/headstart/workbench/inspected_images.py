"""inspected: images of a folder, or of a set with classes, brought to a network as its card says, for looks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from headstart import runtime
from headstart.backbones.preprocess import Preprocess
from headstart.data.batches import pixel_batches
from headstart.data.image_set import Sample, scan, scan_unlabelled
from headstart.data.images import ImageRules
from headstart.errors import DataError
from headstart.inspection.inspected_images import InspectedImages
from headstart.progress import Notice, OnEvent
from headstart.recipe import Recipe

MEASURED = ("test", "validation")  # parts that were not trained on
MOST = 150  # steady means per channel; one pass of resnet18 over them takes some seconds on two cores


def inspected_images(
    source: Path,
    preprocess: Preprocess,
    recipe: Recipe,
    on_event: OnEvent,
    *,
    classes: tuple[str, ...] = (),
    most: int = MOST,
    rules: ImageRules | None = None,
) -> InspectedImages:
    """Some images of a set, drawn from the recipe's seed; of a set with parts the test part, else validation.

    A source without class folders is taken as images without labels. Unreadable images are told and left out.

    Args:
        classes: of the model; labels count in its order, and images of other classes are left out.
        rules: how images are opened; None: as the recipe says.

    Raises:
        DataError: there is no readable image.
    """
    samples = _chosen(samples_of(source, classes), most, recipe.seed)
    opened = rules or ImageRules.named(recipe.background, recipe.max_pixels)
    images = read_samples(samples, preprocess, opened, recipe, on_event, classes=classes)
    if not len(images):
        raise DataError(expected="an image that can be read", found=f"none of {len(samples)}", where=source)
    return images


def read_samples(
    samples: Sequence[Sample],
    preprocess: Preprocess,
    rules: ImageRules,
    recipe: Recipe,
    on_event: OnEvent,
    *,
    classes: tuple[str, ...] = (),
) -> InspectedImages:
    """Samples as a network sees them; unreadable ones are told and left out."""
    stream = pixel_batches(
        [sample.path for sample in samples],
        preprocess.prepare,
        rules=rules,
        batch_size=32,
        workers=recipe.workers or runtime.cores(),
    )
    kept: list[int] = []
    pictures = [torch.empty(0, 3, preprocess.crop, preprocess.crop, dtype=torch.uint8)]
    for batch in stream:
        kept += batch.positions
        pictures += [batch.pixels] if batch.positions else []
        for position, reason in batch.failures.items():
            on_event(Notice(f"{samples[position].name} is left out: {reason}"))
    prepared = torch.cat(pictures)
    found = [samples[i] for i in kept]
    known = classes or tuple(sorted({sample.label for sample in found if sample.label is not None}))
    labelled = bool(found) and all(sample.label in known for sample in found)
    return InspectedImages(
        preprocess.normalise(prepared),
        tuple(sample.name for sample in found),
        prepared,
        torch.tensor([known.index(sample.label or "") for sample in found]) if labelled else None,
        known if labelled else (),
        tuple(sample.path for sample in found),
    )


def samples_of(source: Path, classes: tuple[str, ...], wanted: tuple[str, ...] = MEASURED) -> list[Sample]:
    """Samples of a source, of the first of the wanted parts that it has; without parts all of them.

    Args:
        classes: images of others are left out; none: all are taken. Without class folders there are no labels.

    Raises:
        DataError: there is no image, or none of these classes.
    """
    try:
        image_set = scan(source, unpack_into=runtime.cache_folder() / "archives", least_classes=1)
    except DataError:
        files = scan_unlabelled([source])
        return [Sample(path, path.name) for path in files]
    samples = [one for one in image_set.samples if not classes or one.label in classes]
    if not samples:
        raise DataError(
            expected=f"images of the classes {', '.join(classes[:6])}",
            found=f"classes {', '.join(image_set.classes[:6])}",
            where=source,
        )
    parts = {one.split for one in samples}
    part = next((part for part in wanted if part in parts), None)
    return [one for one in samples if part is None or one.split == part]


def _chosen(samples: list[Sample], most: int, seed: int) -> list[Sample]:
    order = np.random.default_rng(seed).permutation(len(samples))[:most]
    return [samples[i] for i in sorted(order)]
