"""The recipes of pretraining: how many pictures, how large, how fast; plain values."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from headstart.errors import RecipeError, near


@dataclass(frozen=True, kw_only=True)
class PretrainingRecipe:
    """Every knob of one pretraining."""

    name: str
    epochs: int  # a checkpoint after each; the cosine of the learning rate ends with the last
    alone: int  # of these, the last, in which the student goes by its own maps
    batches: int = 64  # in an epoch: no more than this is done again after a stop
    batch: int = 32
    size: int = 96  # pixels along a picture's side
    parts: int = 600  # silhouettes of each of three kinds in the bank
    textures: int = 60  # of each of six kinds
    rate: float = 3e-2  # highest learning rate of Adam: two layers learn best at ten times what a network was taught at
    warm_up: float = 0.1  # share of the steps in which the rate climbs
    seed: int = 0  # of the bank, the pictures and the first weights

    @property
    def steps(self) -> int:
        """Steps of the optimiser in all."""
        return self.epochs * self.batches

    @property
    def pictures(self) -> int:
        """Pictures that are drawn and looked at once each."""
        return self.steps * self.batch

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {**asdict(self), "pictures": self.pictures}


RECIPES = {
    recipe.name: recipe
    for recipe in (
        PretrainingRecipe(name="proof", epochs=5, alone=1, parts=200, textures=20),
        PretrainingRecipe(name="short", epochs=48, alone=12),
        PretrainingRecipe(name="small", epochs=112, alone=28),
        PretrainingRecipe(name="large", epochs=1500, alone=400, batch=256, parts=4000, textures=400),
    )
}


def recipe_of(name: str) -> PretrainingRecipe:
    """A recipe by its name.

    Raises:
        RecipeError: there is none of that name; the near ones are in the hint.
    """
    if name not in RECIPES:
        raise RecipeError(expected=" or ".join(RECIPES), found=repr(name), where="--recipe", hint=near(name, RECIPES))
    return RECIPES[name]
