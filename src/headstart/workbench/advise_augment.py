"""advise_augment: which augmentations are safe for these images, and which would teach something."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor

from headstart.advice.augmentation import WORST, LabelledImages, TransformCheck, check_transforms
from headstart.advice.nested import beginning, nested_order
from headstart.advice.transforms import TRANSFORMS
from headstart.backbones.backbone import Backbone
from headstart.data.dataset import Dataset
from headstart.data.python_source import Source
from headstart.errors import DataError, RecipeError, near
from headstart.features.matrix import Features, FeatureView
from headstart.figures.panels import ImagePlot, panels_figure
from headstart.options import AugmentOptions, takes
from headstart.plain import Plain
from headstart.progress import OnEvent, print_event
from headstart.workbench.figure_file import check_figure, write_figure
from headstart.workbench.session import Session
from headstart.workbench.starting_point import check_backbone, choose_backbone

MOST = 200  # images; of two classes, a flow of 8 in 100 is then beyond chance
_AT_ONCE = 32  # images in a forward pass


@dataclass(frozen=True, kw_only=True)
class AugmentationAdvice(Plain):
    """What each transform does to a set of images.

    Args:
        source: of the images. backbone: whose features were used. images: training images that were used.
        checks: one for each transform.
    """

    source: str
    backbone: str
    images: int
    checks: tuple[TransformCheck, ...]

    def of(self, verdict: str) -> tuple[str, ...]:
        """Names of the transforms with this verdict."""
        return tuple(check.name for check in self.checks if check.verdict == verdict)


@takes(AugmentOptions)
def advise_augment(  # six: what to check, on how many images, where to draw
    source: Source,
    *,
    transforms: str | Sequence[str] = (),
    most: int = MOST,
    figure: str | Path | None = None,
    on_event: OnEvent | None = print_event,
    **options: Unpack[AugmentOptions],
) -> AugmentationAdvice:
    """Check which augmentations keep the class of your images, on training images that the heads did not see.

    Args:
        source: as for `train`.
        transforms: names, in a list or with commas; default: all of `headstart.advice.transforms`.
        most: images. figure: png, svg or pdf file with the images that each unsafe transform changes most.

    Raises:
        DataError: there is no usable set. BackboneError: the backbone is not here. RecipeError: an option is wrong.
    """
    session = Session(None, options, on_event)
    chosen = _named(transforms)
    if most < 20:
        raise RecipeError(
            expected="at least 20 images",
            found=f"{most}",
            where="--most",
            hint="Leave the option out for the usual number.",
        )
    if figure is not None:
        check_figure(Path(figure))
    check_backbone(session)
    path = session.source(source)
    with session.step("audit"):
        dataset = (
            session.dataset(source)
            .with_split(session.recipe.test_share, session.recipe.seed, stable=session.recipe.stable_split)
            .training_only()
        )
    backbone = choose_backbone(session).backbone
    advice, pixels = check_augmentations(session, dataset, backbone, transforms=chosen, most=most, source=str(path))
    if figure is not None:
        write_figure(_worst_figure(advice, pixels), Path(figure))
    return advice


def check_augmentations(  # six: a set, a network, which transforms, and whose they are
    session: Session, dataset: Dataset, backbone: Backbone, *, transforms: Sequence[str], most: int, source: str
) -> tuple[AugmentationAdvice, Tensor]:
    """The advice for the first images of a nested order, and their pixels N×3×S×S uint8.

    Args:
        dataset: training images alone.
    """
    order = nested_order(dataset.labels, dataset.groups(), seed=session.recipe.seed)
    rows = beginning(order, dataset.groups(), most)
    pixels, kept = session.pixels([dataset.samples[i] for i in rows], backbone.preprocess, dataset.rules)
    rows = rows[kept]
    if not len(rows):
        raise DataError(
            expected="training images that can be read",
            found="none",
            where=source,
            hint="headstart audit names what is wrong with each image.",
        )
    names = tuple(dataset.samples[i].name for i in rows)
    views = _features(session, backbone, pixels, names=names, transforms=transforms)
    images = LabelledImages(
        labels=dataset.labels[rows], groups=dataset.groups()[rows], names=names, classes=dataset.classes
    )
    with session.signs_of_life("check transforms"):
        checks = check_transforms(views.pop(""), views, images)
    advice = AugmentationAdvice(source=source, backbone=backbone.spec.name, images=len(rows), checks=tuple(checks))
    return advice, pixels


def _named(transforms: str | Sequence[str]) -> tuple[str, ...]:
    names = transforms.split(",") if isinstance(transforms, str) else list(transforms)
    names = [name.strip() for name in names if name.strip()]
    for name in names:
        if name not in TRANSFORMS:
            known = ", ".join(TRANSFORMS)
            raise RecipeError(
                expected=f"one of {known}", found=repr(name), where="--transforms", hint=near(name, TRANSFORMS)
            )
    return tuple(names) or tuple(TRANSFORMS)


def _features(
    session: Session, backbone: Backbone, pixels: Tensor, *, names: tuple[str, ...], transforms: Sequence[str]
) -> dict[str, FeatureView]:
    """Transform → features of the transformed images at the stages of `--layers`; "" → of the images themselves."""
    stages = backbone.spec.choose_stages(session.recipe.layers)
    slices = {stage: (columns.start, columns.stop) for stage, columns in backbone.slices.items()}
    total, done = len(pixels) * (len(transforms) + 1), 0
    forward = session.forward(backbone, total) or backbone.features
    progress, found = session.progress("features of transformed images"), {}
    with torch.inference_mode():
        for name in ("", *transforms):
            rows = []
            for begin in range(0, len(pixels), _AT_ONCE):
                batch = pixels[begin : begin + _AT_ONCE]  # a multiple of 4: transforms alternate within it
                batch = TRANSFORMS[name](batch) if name else batch
                rows.append(forward(backbone.preprocess.normalise(batch)).cpu().numpy())
                done += len(batch)
                progress(done, total)
            features = Features(np.concatenate(rows), slices, names, names)
            found[name] = features.view(np.arange(len(pixels)), stages)
    return found


def _worst_figure(advice: AugmentationAdvice, pixels: Tensor) -> Any:
    """Each image that an unsafe or harmful transform loses, beside its transformed copy; of none: a line of text."""
    lost = {check.name: check for check in advice.checks if check.worst and check.verdict in ("unsafe", "harmful")}
    panels = [panel for check in lost.values() for one in check.worst for panel in _pair(check.name, one, pixels)]
    if not panels:
        panels = [ImagePlot("No transform is unsafe", _shown(pixels[0]), note="the first image")]
    return panels_figure(panels[: 2 * WORST * max(1, len(lost))], columns=4 if len(panels) > 1 else 1)


def _pair(name: str, one: Any, pixels: Tensor) -> tuple[ImagePlot, ImagePlot]:
    begin = one.index // _AT_ONCE * _AT_ONCE
    moved = TRANSFORMS[name](pixels[begin : begin + _AT_ONCE])[one.index - begin]
    after = ImagePlot(name, _shown(moved), note=f"predicted as {one.predicted}")
    return ImagePlot(one.true, _shown(pixels[one.index])), after


def _shown(image: Tensor) -> Any:
    return image.permute(1, 2, 0).numpy() / 255
