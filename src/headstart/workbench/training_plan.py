"""The plan that `train` shows before the long part: what is used, what is frozen, what it will cost."""

from __future__ import annotations

from headstart.backbones.backbone import Backbone
from headstart.engines.choose import Engine
from headstart.recipe import Recipe
from headstart.wording import duration
from headstart.workbench.starting_point import StartingPoint


def plan_rows(choice: StartingPoint, engine: Engine, recipe: Recipe, *, images: int, waiting: int) -> dict[str, str]:
    """Label → text, in the order to show.

    Args:
        images: of the set. waiting: those whose features are not in the cache.
    """
    backbone = choice.backbone
    row = backbone.spec
    width = sum(backbone.widths)
    megabytes = images * width * 4 * 2 / 1e6  # float32, once in the cache and once in the run
    seconds = (engine.seconds_per_image or 0.0) * waiting
    side = backbone.preprocess.crop
    stages = ", ".join(row.choose_stages(recipe.layers))
    pretrained = "" if row.pretrained else "nothing was pretrained: its weights are random, "
    return {
        "backbone": f"{row.title} ({row.parameters:.1f} M parameters, {side}×{side} px){_because(choice.reason)}",
        "weights": f"{pretrained}{backbone.weights.source}",
        "licence": backbone.weights.licence,
        "frozen": "the whole backbone, weights and batch-norm statistics; only the head is trained",
        "head": f"{recipe.head} on {stages}, each scaled to unit length",
        "engine": f"{engine.name}: {engine.reason}",
        "cached": f"features of {images - waiting:,} of {images:,} images are there, {waiting:,} to compute",
        "time": f"about {duration(seconds)} for the features" if waiting else "seconds: nothing has to be computed",
        "disk": f"about {megabytes:.0f} MB for features, half of it in the cache",
    }


def layer_choices(backbone: Backbone, layers: str) -> dict[str, tuple[str, ...]]:
    """The stages asked for, then the usual alternatives to show beside them; no set of stages twice.

    Raises:
        BackboneError: a name is not a stage.
    """
    chosen = {layers: backbone.spec.choose_stages(layers)}
    for word in ("pooled", "last-two", "all"):
        stages = backbone.spec.choose_stages(word)
        if stages not in chosen.values():
            chosen[word] = stages
    return chosen


def _because(reason: str) -> str:
    return f", {reason}" if reason else ""
