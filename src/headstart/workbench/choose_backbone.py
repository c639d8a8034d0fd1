"""Which backbone a run starts from: the one named, or for `auto` the best that can be had here."""

from __future__ import annotations

from dataclasses import dataclass

from headstart.backbones.backbone import Backbone, load_backbone
from headstart.backbones.catalogue import row_of
from headstart.backbones.mirror import Mirror
from headstart.backbones.weights import weights_available
from headstart.classifier.classifier import Head
from headstart.errors import BackboneError
from headstart.recipe import Recipe
from headstart.workbench.events import Notice, Tell, Ticker

AUTO = "resnet18"  # small, known to everyone, and 0.94 on ants and bees with a closed-form head
FALLBACK = "embedded"  # comes with headstart


@dataclass(frozen=True)
class Choice:
    """A loaded backbone and, when it was not simply the one named, why it was taken.

    Args:
        head: that fine-tuning begins with; None: solved on the backbone's features.
        mirror: how that head took in mirror images, and does again if fine-tuning changes nothing.
    """

    backbone: Backbone
    reason: str
    head: Head | None = None
    mirror: Mirror | None = None


def check_backbone(recipe: Recipe) -> None:
    """Find mistakes in `backbone`, `layers` and `weights` before anything is read or fetched.

    Raises:
        BackboneError: the backbone or a stage is unknown, or there is no such file.
    """
    row = row_of(AUTO if recipe.backbone == "auto" else recipe.backbone)
    row.choose_stages(recipe.layers)
    where = weights_available(row, recipe.weights)
    if recipe.weights is not None and where.path is None and not where.url:
        raise BackboneError(
            expected="a file of weights",
            found="no such file",
            where=recipe.weights,
            hint="Check the path of --weights.",
        )


def choose_backbone(recipe: Recipe, tell: Tell) -> Choice:
    """Load the recipe's backbone; `auto` takes resnet18 if its weights are here or can be fetched, else `embedded`.

    Raises:
        BackboneError: the backbone is unknown, its weights cannot be had, or it cannot take images of that size.
    """
    choice = _choose(recipe, tell)
    if recipe.size:
        choice.backbone.take_size(recipe.size)
    return choice


def _choose(recipe: Recipe, tell: Tell) -> Choice:
    if recipe.backbone != "auto" or recipe.weights is not None:
        name = AUTO if recipe.backbone == "auto" else recipe.backbone
        return Choice(_load(name, recipe, tell), "")
    where = weights_available(row_of(AUTO))
    if where.path is None and recipe.offline:
        return _fall_back(tell, f"no weights of {AUTO} are on this machine and --offline was asked for")
    try:
        return Choice(_load(AUTO, recipe, tell), f"auto: {AUTO}")
    except BackboneError as error:
        if where.path is not None:  # a file that is here and does not fit is no reason to go on in silence
            raise
        return _fall_back(tell, f"the weights of {AUTO} could not be fetched ({error.found})")


def _load(name: str, recipe: Recipe, tell: Tell) -> Backbone:
    row = row_of(name)
    where = weights_available(row, recipe.weights)
    if where.path is None and where.url and not recipe.offline:
        size = f"{where.megabytes:.0f} MB" if where.megabytes else "size unknown"
        tell(Notice(f"Fetching the weights of {name}: {size}, licence {where.licence}, from {where.url}"))
    progress = Ticker(tell, f"fetch {name}", unit="bytes")
    return load_backbone(
        name,
        weights=recipe.weights,
        offline=recipe.offline,
        seed=recipe.seed,
        progress=progress,
        note=lambda text: tell(Notice(text)),
    )


def _fall_back(tell: Tell, why: str) -> Choice:
    tell(
        Notice(
            f"The small network that comes with headstart is used: {why}. It was trained on drawn pictures; on "
            "photographs ImageNet weights are far better: give a file with --weights FILE."
        )
    )
    return Choice(load_backbone(FALLBACK), f"auto: {why}")
