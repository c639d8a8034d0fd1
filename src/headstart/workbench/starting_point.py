"""Which backbone a run starts from: the one named, or for `auto` the best that can be had here."""

from __future__ import annotations

from dataclasses import dataclass

from headstart.backbones.backbone import Backbone, load_backbone
from headstart.backbones.catalogue import find_spec
from headstart.backbones.flip_tta import FlipTTA
from headstart.backbones.weights import weights_available
from headstart.errors import BackboneError
from headstart.heads.head import Head
from headstart.progress import Notice, OnEvent, ProgressReporter
from headstart.recipe import Recipe

AUTO = "resnet18"  # small, known to everyone, and 0.94 on ants and bees with a closed-form head
FALLBACK = "embedded"  # comes with headstart


@dataclass(frozen=True)
class StartingPoint:
    """A loaded backbone and, when it was not simply the one named, why it was taken.

    Args:
        head: that fine-tuning begins with; None: solved on the backbone's features.
        mirror: how that head took in mirror images, and does again if fine-tuning changes nothing.
    """

    backbone: Backbone
    reason: str
    head: Head | None = None
    flip_tta: FlipTTA | None = None


def check_backbone(recipe: Recipe) -> None:
    """Find mistakes in `backbone`, `layers` and `weights` before anything is read or fetched.

    Raises:
        BackboneError: the backbone or a stage is unknown, or there is no such file.
    """
    row = find_spec(AUTO if recipe.backbone == "auto" else recipe.backbone)
    row.choose_stages(recipe.layers)
    where = weights_available(row, recipe.weights)
    if recipe.weights is not None and where.path is None and not where.url:
        raise BackboneError(
            expected="a file of weights",
            found="no such file",
            where=recipe.weights,
            hint="Check the path of --weights.",
        )


def choose_backbone(recipe: Recipe, on_event: OnEvent) -> StartingPoint:
    """Load the recipe's backbone; `auto` takes resnet18 if its weights are here or can be fetched, else `embedded`.

    Raises:
        BackboneError: the backbone is unknown, its weights cannot be had, or it cannot take images of that size.
    """
    choice = _choose(recipe, on_event)
    if recipe.size:
        choice.backbone.set_image_size(recipe.size)
    return choice


def _choose(recipe: Recipe, on_event: OnEvent) -> StartingPoint:
    if recipe.backbone != "auto" or recipe.weights is not None:
        name = AUTO if recipe.backbone == "auto" else recipe.backbone
        return StartingPoint(_load(name, recipe, on_event), "")
    where = weights_available(find_spec(AUTO))
    if where.path is None and recipe.offline:
        return _fall_back(on_event, f"no weights of {AUTO} are on this machine and --offline was asked for")
    try:
        return StartingPoint(_load(AUTO, recipe, on_event), f"auto: {AUTO}")
    except BackboneError as error:
        if where.path is not None:  # a file that is here and does not fit is no reason to go on in silence
            raise
        return _fall_back(on_event, f"the weights of {AUTO} could not be fetched ({error.found})")


def _load(name: str, recipe: Recipe, on_event: OnEvent) -> Backbone:
    row = find_spec(name)
    where = weights_available(row, recipe.weights)
    if where.path is None and where.url and not recipe.offline:
        size = f"{where.megabytes:.0f} MB" if where.megabytes else "size unknown"
        on_event(Notice(f"Fetching the weights of {name}: {size}, licence {where.licence}, from {where.url}"))
    progress = ProgressReporter(on_event, f"fetch {name}", unit="bytes")
    return load_backbone(
        name,
        weights=recipe.weights,
        offline=recipe.offline,
        seed=recipe.seed,
        progress=progress,
        note=lambda text: on_event(Notice(text)),
    )


def _fall_back(on_event: OnEvent, why: str) -> StartingPoint:
    on_event(
        Notice(
            f"The small network that comes with headstart is used: {why}. It was trained on drawn pictures; on "
            "photographs ImageNet weights are far better: give a file with --weights FILE."
        )
    )
    return StartingPoint(load_backbone(FALLBACK), f"auto: {why}")
