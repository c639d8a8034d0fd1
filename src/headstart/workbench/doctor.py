"""doctor: the rules of the trade, checked on a backbone by its name, a classifier file, or any network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn
from torch.optim import Optimizer

from headstart.backbones.backbone import Backbone
from headstart.classifier.classifier import Classifier
from headstart.errors import RecipeError
from headstart.inspection.doctor.diagnosis import Diagnosis
from headstart.inspection.doctor.examine import doctor as examine
from headstart.inspection.images import InspectedImages
from headstart.recipe import Recipe
from headstart.workbench.choose_backbone import check_backbone, choose_backbone
from headstart.workbench.events import Tell, tell_plainly
from headstart.workbench.inspected import inspected_images


def doctor(
    model: str | Path | nn.Module | Backbone | Classifier,
    *,
    source: str | Path | None = None,
    optimizer: Optimizer | Sequence[Optimizer] | None = None,
    batch_size: int | None = None,
    steps: int | None = None,
    weights: str | None = None,
    offline: bool = False,
    tell: Tell = tell_plainly,
) -> Diagnosis:
    """Check the rules of the trade; those that lack an input are listed as not checked.

    Args:
        model: a name of the catalogue or `timm:NAME`, a classifier file or the folder of a run, or a loaded model.
        source: images that it is for, a folder or a set with classes; of a plain module: pass pixels to
            `headstart.inspection.doctor.examine.doctor` instead.
        optimizer: one or several that train it.
        batch_size: images in a step of training. steps: of the training to come.
        weights: file or URL, for a name. offline: never touch the network.

    Raises:
        BackboneError: the name is unknown, or its weights cannot be had.
        ClassifierError: the file cannot be opened.
        DataError: there is no image that can be read.
        RecipeError: a number is out of range, or images are given for a module that does not say how it takes them.
    """
    file = _file_of(model)
    recipe = Recipe(weights=weights, offline=offline)
    opened = _opened(model, file, recipe, tell)
    images = None if source is None else _images_for(opened, Path(source), recipe, tell)
    return examine(opened, images=images, optimizer=optimizer, batch_size=batch_size, steps=steps, file=file)


def _file_of(model: object) -> Path | None:
    """The path that is meant; a name of the catalogue is none, unless a file or folder of that name is here."""
    if isinstance(model, Path):
        return model
    if isinstance(model, str) and (model.endswith(".safetensors") or Path(model).exists()):
        return Path(model)
    return None


def _opened(
    model: str | Path | nn.Module | Backbone | Classifier, file: Path | None, recipe: Recipe, tell: Tell
) -> nn.Module | Backbone | Classifier:
    if file is not None:
        return Classifier.load(file)
    if not isinstance(model, (str, Path)):
        return model
    named = Recipe.from_dict({**recipe.to_dict(), "backbone": model})
    check_backbone(named)
    return choose_backbone(named, tell).backbone


def _images_for(model: nn.Module | Backbone | Classifier, source: Path, recipe: Recipe, tell: Tell) -> InspectedImages:
    if isinstance(model, Classifier):
        return inspected_images(source, model.backbone.preprocess, recipe, tell, classes=model.classes)
    if isinstance(model, Backbone):
        return inspected_images(source, model.preprocess, recipe, tell)
    raise RecipeError(
        expected="a Classifier or a Backbone, which says how images are brought to it",
        found=f"images for a {type(model).__name__}",
        where="source",
        hint="Give normalised pixels to headstart.inspection.doctor.examine.doctor(module, images=pixels).",
    )
