"""The recipes of pretraining: how many pictures, how large, how fast; plain values."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from headstart.errors import RecipeError, near


@dataclass(frozen=True, kw_only=True)
class PretrainingRecipe:
    """Every knob of one pretraining."""

    name: str
    epochs: int  # a checkpoint after each
    horizon: int | None = None  # epochs after which the rate's cosine would come to its end; None: those there are
    ending: int = 0  # last epochs, in which the rate falls in a line to nothing, wherever on the cosine it is
    batches: int = 64  # in an epoch: no more than this is done again after a stop
    batch: int = 32
    size: int = 96  # pixels along a picture's side
    seen: int = 160  # as the teacher sees it: at 96 px it knows less itself
    views: int = 2  # how often a picture is learnt from; drawing it and asking the teacher costs more than learning
    collage: float = 0.0  # share of the pictures that are put together of four others
    collage_after: int = 0  # epochs without
    parts: int = 1000  # silhouettes of each of three kinds in the bank
    textures: int = 100  # of each of six kinds
    rate: float = 3e-3  # highest learning rate of AdamW
    warm_up: float = 0.05  # share of the steps in which the rate climbs
    decay: float = 0.02
    seed: int = 0  # of the bank, the pictures and the first weights

    @property
    def laid_out(self) -> int:
        """Steps that the cosine of the learning rate is laid out for."""
        return (self.horizon or self.epochs) * self.batches

    @property
    def steps(self) -> int:
        """Steps of the optimiser in all."""
        return self.epochs * self.batches

    @property
    def pictures(self) -> int:
        """Pictures that are drawn, each learnt from `views` times or so."""
        return self.epochs * -(-self.batches // self.views) * self.batch

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {**asdict(self), "pictures": self.pictures}


RECIPES = {
    recipe.name: recipe
    for recipe in (
        PretrainingRecipe(name="proof", epochs=5, parts=200, textures=20),
        PretrainingRecipe(name="short", epochs=48),
        PretrainingRecipe(name="small", epochs=165, horizon=220, ending=50, collage=0.5, collage_after=89),
        PretrainingRecipe(name="large", epochs=1500, batch=256, rate=4e-3, parts=4000, textures=400),
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
