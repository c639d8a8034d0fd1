"""show: a contact sheet of a set of images, as one page: each class, sizes, findings, and augmented views."""

from __future__ import annotations

import dataclasses
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import numpy as np
import torch

from headstart.backbones.preprocess import Preprocess
from headstart.data.dataset import Dataset
from headstart.data.images import BadImage, open_image
from headstart.data.python_source import Source
from headstart.data.thumbnails import encode_thumbnail
from headstart.errors import RecipeError
from headstart.finetune.augmentation import MARGIN, Augmentation, stored_side, views
from headstart.options import AuditOptions, takes
from headstart.output_paths import PAGES, writable_file
from headstart.plain import Plain
from headstart.progress import OnEvent, print_event
from headstart.recipe import Recipe
from headstart.reports.contact_sheet import (
    PER_CLASS,
    AugmentedClass,
    ContactSheet,
    shown_per_class,
    write_contact_sheet,
)
from headstart.reports.gallery import GalleryImage
from headstart.workbench.events import FilesWritten
from headstart.workbench.session import Session
from headstart.workbench.starting_point import preprocess_of

PAGE = "show.html"
_AUGMENTED_CLASSES, _AUGMENTED_IMAGES, _VIEWS = 20, 2, 5  # 240 thumbnails: 1.5 MB


@dataclass(frozen=True)
class Shown(Plain):
    """The page that was written, how many images there are, and how many of them are on it."""

    page: Path
    images: int
    on_page: int
    per_class: int

    def __str__(self) -> str:
        return f"{self.on_page:,} of {self.images:,} images are on the page, at most {self.per_class} of a class."


@takes(AuditOptions)
def show(
    source: Source,
    *,
    out: str | Path | None = None,
    augmented: bool = False,
    backbone: str = "auto",
    flips: bool = True,
    most: int = PER_CLASS,
    recipe: Recipe | None = None,
    on_event: OnEvent | None = print_event,
    **options: Unpack[AuditOptions],
) -> Shown:  # nine: what to show, where to, and how much
    """Write a page with some images of each class, their sizes, and what the audit finds on them.

    Args:
        source: as for `train`.
        out: page to write; default `show.html`.
        augmented: also show views as fine-tuning would draw them, for this backbone, with or without flips.
        most: images of each class; fewer where there are many classes, so that the page has at most 600.

    Raises:
        DataError: there is no image. RecipeError: an option is not allowed, or has no effect without `augmented`.
        BackboneError: the backbone is unknown.
    """
    session = Session(recipe, {**options, "backbone": backbone, "flips": flips}, on_event)
    _check_options(backbone, flips, most, augmented=augmented)
    page = writable_file(PAGE if out is None else out, replaces=PAGES)
    preprocess = preprocess_of(session) if augmented else None
    path = session.source(source)
    dataset = session.dataset(path, least_classes=1, stop=False, reviewed=True)
    per_class = shown_per_class(len(dataset.classes), most)
    contents = ContactSheet(
        title=path.absolute().name,
        source=str(dataset.image_set.source),
        images=len(dataset.image_set.samples),
        most=per_class,
        command=f"headstart train {shlex.quote(str(path))}",
    )
    if preprocess is not None:
        augmentation = Augmentation(flip=session.recipe.flips)
        contents = dataclasses.replace(
            contents,
            augmentation=_sentences(session.recipe, preprocess, augmentation),
            augmented=_augmented(dataset, preprocess, augmentation, seed=session.recipe.seed),
            augmented_left_out=max(0, len(dataset.classes) - _AUGMENTED_CLASSES),
        )
    on_page = write_contact_sheet(page, dataset, contents)
    session.on_event(FilesWritten(page.parent, (page.name,), contents.command))
    return Shown(page, contents.images, on_page, per_class)


def _check_options(backbone: str, flips: bool, most: int, *, augmented: bool) -> None:
    for flag, chosen in (("--backbone", backbone != "auto"), ("--no-flips", not flips)):
        if chosen and not augmented:
            raise RecipeError(
                expected=f"--augmented with {flag}",
                found="none",
                where=flag,
                hint="Add --augmented, or leave this option out.",
            )
    if most < 1:
        raise RecipeError(
            expected="at least one image of a class",
            found=str(most),
            where="--most",
            hint="Leave --most out for the usual number.",
        )


def _sentences(recipe: Recipe, preprocess: Preprocess, augmentation: Augmentation) -> str:
    margin = stored_side(preprocess.resize, preprocess.crop) - preprocess.crop
    shift = margin // 2 if margin else max(1, preprocess.crop // MARGIN)  # without a margin the border is reflected
    flips = "half of the views are flipped horizontally (not with --no-flips)" if augmentation.flip else "no flips"
    return (
        f"Each image is shown as the network is measured on it: its centre, {preprocess.crop} px. The {_VIEWS} after "
        f"it are views as fine-tuning draws them in each epoch: shifted by up to {shift} px, {flips}. "
        "The default, --strategy probe, trains only the head, on the images as they are."
    )


def _augmented(
    dataset: Dataset, preprocess: Preprocess, augmentation: Augmentation, *, seed: int
) -> tuple[AugmentedClass, ...]:
    found = []
    for number, label in enumerate(dataset.classes[:_AUGMENTED_CLASSES]):
        indices = np.flatnonzero(dataset.labels == number)
        spread = (
            indices[np.linspace(0, len(indices) - 1, _AUGMENTED_IMAGES).round().astype(int)] if len(indices) else []
        )
        rows = [
            _views(dataset, int(i), preprocess, augmentation=augmentation, seed=seed) for i in dict.fromkeys(spread)
        ]
        found.append(AugmentedClass(label, tuple(view for row in rows for view in row)))
    return tuple(found)


def _views(
    dataset: Dataset, i: int, preprocess: Preprocess, *, augmentation: Augmentation, seed: int
) -> list[GalleryImage]:
    """The centre crop of an image and some views of it."""
    side, name = stored_side(preprocess.resize, preprocess.crop), dataset.samples[i].name
    try:
        rgb = open_image(dataset.samples[i].path, dataset.rules).rgb
    except BadImage as bad:  # it could be read a moment ago
        return [GalleryImage(name, reason=bad.reason)]
    square = dataclasses.replace(preprocess, crop=side).prepare(rgb)[None]
    number = np.array([i], dtype=np.int64)
    drawn = [views(square, preprocess.crop, augmentation, seed=seed + epoch, images=number) for epoch in range(_VIEWS)]
    names = [name, *(f"view {k}" for k in range(1, _VIEWS + 1))]
    pictures = torch.cat([preprocess.prepare(rgb)[None], *drawn]).permute(0, 2, 3, 1).numpy()
    return [
        GalleryImage(text, encode_thumbnail(np.ascontiguousarray(picture)))
        for text, picture in zip(names, pictures, strict=True)
    ]
