"""Options of a verb: fields of the recipe with its defaults, shown in its signature; others are refused by name."""

from __future__ import annotations

import inspect
from typing import Any, TypedDict, Unpack

import pytest

from headstart.errors import RecipeError, RunError
from headstart.options import TrainOptions, takes
from headstart.recipe import Recipe


class Few(TypedDict, total=False):
    """Two fields."""

    epochs: int
    seed: int


@takes(Few)
def verb(source: str, **options: Unpack[Few]) -> dict[str, Any]:
    """Open a file that is not there for `missing`, else give back the options."""
    if source == "missing":
        raise FileNotFoundError(2, "No such file or directory", "photos/a.jpg")
    return dict(options)


def test_the_signature_shows_the_options_with_the_defaults_of_the_recipe() -> None:
    shown = inspect.signature(verb).parameters
    assert list(shown) == ["source", "epochs", "seed"] or list(shown) == ["source", "seed", "epochs"]
    assert shown["seed"].default == Recipe().seed
    assert shown["seed"].kind is inspect.Parameter.KEYWORD_ONLY
    assert shown["seed"].annotation is int


def test_given_options_arrive_as_they_are() -> None:
    assert verb("photos", epochs=3) == {"epochs": 3}


@pytest.mark.parametrize(
    ("name", "hint"),
    [("epoch", "epochs"), ("backbone", "It comes from the run or its classifier's card, or has no effect here.")],
)
def test_an_option_of_another_verb_or_of_none_is_refused_with_a_hint(name: str, hint: str) -> None:
    with pytest.raises(RecipeError) as refused:
        verb("photos", **{name: 1})  # type: ignore[arg-type]
    assert repr(name) in str(refused.value)
    assert hint in str(refused.value)


def test_a_foreign_error_becomes_one_of_headstart() -> None:
    with pytest.raises(RunError, match=r"photos/a\.jpg"):
        verb("missing")


def test_training_takes_every_field_of_the_recipe() -> None:
    assert set(TrainOptions.__annotations__) == set(Recipe().to_dict())
