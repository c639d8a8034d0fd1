"""The recipes of pretraining: number and size of the pictures, learning rate, length; plain values."""

from __future__ import annotations

from dataclasses import dataclass

from headstart.errors import RecipeError, near
from headstart.plain import Plain


@dataclass(frozen=True, kw_only=True)
class PretrainingRecipe(Plain):
    """Every option of one pretraining."""

    name: str
    epochs: int  # a checkpoint after each; the cosine of the learning rate ends with the last
    free_running_epochs: int  # the last of them: without teacher forcing, on the student's own maps
    batches: int = 64  # per epoch: no more than this is repeated after a stop
    batch_size: int = 32
    size: int = 96  # pixels along a picture's side
    silhouettes: int = 600  # of each of three kinds in the bank
    textures: int = 60  # of each of six kinds
    lr: float = 3e-2  # highest learning rate of Adam: two layers learn best at ten times that of a whole network
    warm_up: float = 0.1  # share of the steps in which the learning rate rises
    seed: int = 0  # of the bank, the pictures and the initial weights

    @property
    def steps(self) -> int:
        """Optimiser steps in total."""
        return self.epochs * self.batches

    @property
    def pictures(self) -> int:
        """Pictures that are drawn and used once each."""
        return self.steps * self.batch_size

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {**super().to_dict(), "pictures": self.pictures}


RECIPES = {
    recipe.name: recipe
    for recipe in (
        PretrainingRecipe(name="proof", epochs=5, free_running_epochs=1, silhouettes=200, textures=20),
        PretrainingRecipe(name="short", epochs=48, free_running_epochs=12),
        PretrainingRecipe(name="small", epochs=112, free_running_epochs=28),
        PretrainingRecipe(
            name="large", epochs=1500, free_running_epochs=400, batch_size=256, silhouettes=4000, textures=400
        ),
    )
}


def recipe_of(name: str) -> PretrainingRecipe:
    """A recipe by its name.

    Raises:
        RecipeError: there is no recipe of that name; the near ones are in the hint.
    """
    if name not in RECIPES:
        raise RecipeError(expected=" or ".join(RECIPES), found=repr(name), where="--recipe", hint=near(name, RECIPES))
    return RECIPES[name]
