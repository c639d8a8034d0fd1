"""A tiny bank and teacher for the tests of this room."""

from __future__ import annotations

from headstart.backbones.backbone import Backbone, build_backbone
from headstart.backbones.catalogue import find_spec
from headstart.pretraining.bank import Bank, draw_bank
from headstart.pretraining.recipe import PretrainingRecipe
from headstart.pretraining.teacher import NAME

TINY = PretrainingRecipe(
    name="tiny", epochs=3, free_running_epochs=1, batches=2, batch_size=4, size=64, silhouettes=4, textures=2
)


def small_bank(seed: int = 0) -> Bank:
    """Twelve silhouettes and six textures."""
    return draw_bank(seed, silhouettes=4, textures=1)


def untaught_teacher() -> Backbone:
    """The teacher's network with weights from a seed: enough to see that the student follows it."""
    return build_backbone(find_spec(NAME), seed=3)
