"""The recipes of pretraining by name."""

from __future__ import annotations

import pytest

from headstart.errors import RecipeError
from headstart.pretraining.recipe import RECIPES, recipe_of


def test_an_unknown_recipe_is_refused_with_the_near_names() -> None:
    with pytest.raises(RecipeError, match="Did you mean small"):
        recipe_of("smal")
    assert recipe_of("small").pictures == 112 * 64 * 32


def test_recipes_are_named_as_they_are_found_and_each_is_longer_than_the_one_before() -> None:
    assert all(recipe.name == name for name, recipe in RECIPES.items())
    assert list(RECIPES) == ["proof", "short", "small", "large"]
    assert [recipe.pictures for recipe in RECIPES.values()] == sorted(recipe.pictures for recipe in RECIPES.values())
