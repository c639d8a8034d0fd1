"""A model by whatever names it: a row of the catalogue, a classifier file, the folder of a run, or the model itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import nn

from headstart.backbones.backbone import Backbone
from headstart.classifier.classifier import Classifier
from headstart.errors import RecipeError
from headstart.inspection.inspected_images import InspectedImages
from headstart.progress import OnEvent
from headstart.recipe import Recipe
from headstart.workbench.inspected_images import MOST, inspected_images
from headstart.workbench.starting_point import check_backbone, choose_backbone

Named = str | Path | nn.Module | Backbone | Classifier


def file_of(model: Named) -> Path | None:
    """The path that is meant; a name of the catalogue is none, unless a file or folder of that name is here."""
    if isinstance(model, Path):
        return model
    if isinstance(model, str) and (model.endswith(".safetensors") or Path(model).exists()):
        return Path(model)
    return None


def open_model(model: Named, recipe: Recipe, on_event: OnEvent) -> nn.Module | Backbone | Classifier:
    """The model that is meant; the recipe says where a row's weights come from.

    Raises:
        BackboneError: the name is unknown, or its weights cannot be had.
        ClassifierError: the file cannot be opened.
    """
    file = file_of(model)
    if file is not None:
        return Classifier.load(file)
    if not isinstance(model, (str, Path)):
        return model
    named = Recipe.from_dict({**recipe.to_dict(), "backbone": model})
    check_backbone(named)
    return choose_backbone(named, on_event).backbone


def images_for(
    model: nn.Module | Backbone | Classifier, source: Path, recipe: Recipe, on_event: OnEvent, *, most: int = MOST
) -> InspectedImages:
    """Images of a source as the model's card wants them.

    Raises:
        DataError: there is no image that can be read.
        RecipeError: the model is a plain module, which does not say how images are brought to it.
    """
    if isinstance(model, Classifier):
        rules = replace(model.rules, max_pixels=recipe.max_pixels)  # the background is that of its card
        look = model.backbone.preprocess
        return inspected_images(source, look, recipe, on_event, classes=model.classes, most=most, rules=rules)
    if isinstance(model, Backbone):
        return inspected_images(source, model.preprocess, recipe, on_event, most=most)
    raise RecipeError(
        expected="a Classifier or a Backbone, which says how images are brought to it",
        found=f"images for a {type(model).__name__}",
        where="source",
        hint="Give normalised pixels to the functions of headstart.inspection instead.",
    )
