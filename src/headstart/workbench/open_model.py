"""A model however it is named: a backbone's name, a classifier file, the folder of a run, a StepByStep, or itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import nn

from headstart import runtime
from headstart.backbones.backbone import Backbone
from headstart.classifier.classifier import Classifier
from headstart.data.image_set import Sample, scan, scan_unlabelled
from headstart.data.image_source import is_address, is_image_source
from headstart.data.python_source import Source, is_path
from headstart.data.table_cells import is_table
from headstart.errors import DataError, RecipeError
from headstart.inspection.inspected_images import InspectedImages
from headstart.source_layout import AUTO, SourceLayout
from headstart.training.stepbystep import StepByStep
from headstart.training.wrappers import unwrapped
from headstart.wording import counted
from headstart.workbench.session import Session
from headstart.workbench.starting_point import check_backbone, choose_backbone

Named = str | Path | nn.Module | Backbone | Classifier | StepByStep

NOT_TRAINED_ON = ("test", "validation")  # splits to look for, in this order
MOST = 150  # images: steady means per channel; one pass of resnet18 over them takes seconds on two cores


def file_of(model: Named) -> Path | None:
    """The path that is meant; a backbone's name is none, unless a file or folder of that name is here."""
    if isinstance(model, Path):
        return model
    if isinstance(model, str) and (model.endswith(".safetensors") or Path(model).exists()):
        return Path(model)
    return None


def open_model(session: Session, model: Named) -> nn.Module | Backbone | Classifier:
    """The model that is meant; the session's recipe says where a backbone's weights come from.

    Raises:
        BackboneError: the name is unknown, or its weights are not available.
        ClassifierError: the file cannot be opened.
        RecipeError: it is nothing that holds a network.
    """
    file = file_of(model)
    if file is not None:
        model = Classifier.load(file)
    if isinstance(model, Classifier):
        if (low := model.backbone.low_precision) is not None:
            session.notice(f"It predicts in {low.name}; what is inspected are the same weights in float32.")
        return model
    if isinstance(model, StepByStep):
        return unwrapped(model.model)
    if isinstance(model, (nn.Module, Backbone)):
        return model
    if not isinstance(model, (str, Path)):
        raise RecipeError(
            expected="a backbone's name, a classifier file, a network, a Backbone, a Classifier or a StepByStep",
            found=type(model).__name__,
            where="model",
            hint="headstart backbones lists the names.",
        )
    named = Session(session.recipe, {"backbone": model}, session.on_event)
    check_backbone(named)
    return choose_backbone(named).backbone


def image_source(session: Session, source: Source) -> Path | list[Sample]:
    """Where the images of a source are: its path, that of the table in which `train` would keep it, or, for images
    without labels, their files; those in memory are kept in the cache.

    Args:
        source: as for `train`; or one or several images, as `predict` takes them.

    Raises:
        DataError: it is neither, or the images are on the web.
    """
    if is_path(source):
        return Path(source)
    several = [source] if is_image_source(source) else list(source) if isinstance(source, (list, tuple)) else []
    if not several or not all(map(is_image_source, several)):
        return session.source(source)
    paths = [Path(one) for one in several if is_path(one) and not is_address(one)]
    found = [Sample(path, str(path)) for path in scan_unlabelled(paths, on_skip=session.notice)] if paths else []
    in_memory = [one for one in several if not is_path(one) or is_address(one)]
    if in_memory:  # a label is written beside them, as every table needs one, and is not used
        kept = scan(session.source([(one, "image") for one in in_memory]), least_classes=1, stop=False)
        found += [replace(sample, label=None) for sample in kept.samples]
    return found


def images_for(
    session: Session, model: nn.Module | Backbone | Classifier, source: Source, *, most: int = MOST
) -> InspectedImages:
    """Images of a source as the model's card wants them; of a set with splits the test split, else validation.

    A source without class folders is taken as images without labels. Unreadable images are reported and left out.

    Args:
        most: images, drawn by the recipe's seed.

    Raises:
        DataError: there is no image that can be read.
        RecipeError: the model is a plain module, which does not say how images are preprocessed for it.
    """
    if isinstance(model, Classifier):
        backbone, classes = model.backbone, model.classes
        rules = replace(model.rules, max_pixels=session.recipe.max_pixels)  # the background is that of its card
    elif isinstance(model, Backbone):
        backbone, classes, rules = model, (), session.rules
    else:
        raise RecipeError(
            expected="a Classifier or a Backbone, which says how images are preprocessed",
            found=f"images for a {type(model).__name__}",
            where="source",
            hint="Give normalised pixels to the functions of headstart.inspection instead.",
        )
    source = image_source(session, source)
    samples = samples_of(source, classes, layout=session.layout)
    order = np.random.default_rng(session.recipe.seed).permutation(len(samples))[:most]
    chosen = [samples[i] for i in sorted(order)]
    images = session.read(chosen, backbone.preprocess, rules, classes=classes)
    if not len(images):
        raise DataError(
            expected="an image that can be read",
            found=f"none of {len(chosen)}",
            where=name_of_source(source),
            hint="headstart audit names what is wrong with each image.",
        )
    return images


def name_of_source(source: Path | list[Sample]) -> str:
    """What people call it."""
    return source.name if isinstance(source, Path) else counted(len(source), "image")


def samples_of(
    source: Path | list[Sample],
    classes: tuple[str, ...],
    wanted: tuple[str, ...] = NOT_TRAINED_ON,
    *,
    layout: SourceLayout = AUTO,
) -> list[Sample]:
    """Samples of a source, of the first of the wanted splits that it has; without splits all of them.

    Args:
        source: of `image_source`; samples are returned as they are.
        classes: images of others are left out; empty: all are taken. Without class folders there are no labels.
        layout: what the user says about columns and folders.

    Raises:
        DataError: there is no image, or none of these classes; a table or folders that can be read in two ways.
    """
    if not isinstance(source, Path):
        return source
    try:
        archives = runtime.cache_folder() / "archives"
        image_set = scan(source, unpack_into=archives, least_classes=1, layout=layout, stop=False)
    except DataError:
        if is_table(source):
            raise
        return _unlabelled(source)
    for finding in image_set.findings:
        if finding.kind == "no-labels" and not is_table(source):
            return _unlabelled(source)
        if finding.stops_training:
            raise finding.to_error(source)
    samples = [one for one in image_set.samples if not classes or one.label in classes]
    if not samples:
        raise DataError(
            expected=f"images of the classes {', '.join(classes[:6])}",
            found=f"classes {', '.join(image_set.classes[:6])}",
            where=source,
            hint="Use images whose folders are called as these classes.",
        )
    there = {one.split for one in samples}
    split = next((name for name in wanted if name in there), None)
    return [one for one in samples if split is None or one.split == split]


def _unlabelled(source: Path) -> list[Sample]:
    return [Sample(path, path.name) for path in scan_unlabelled([source])]
