"""Recipe: values are checked, unknown keys are errors, and it comes back from its own record."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from headstart import recipe as module
from headstart.errors import RecipeError
from headstart.recipe import Recipe
from headstart.source_layout import SourceLayout


def test_a_recipe_comes_back_from_its_own_values() -> None:
    recipe = Recipe(backbone="resnet50", test_share=0.3, offline=True)
    assert Recipe.from_dict(recipe.to_dict()) == recipe


def test_sizes_are_sides_with_the_largest_first() -> None:
    assert Recipe(sizes="224, 288").sides == (288, 224)
    assert Recipe().sides == ()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sead": 1}, "Did you mean seed"),
        ({"sizes": "224"}, "two or more different sides"),
        ({"sizes": "224,224"}, "two or more different sides"),
        ({"sizes": "224;288"}, "two or more different sides"),
        ({"sizes": "16,224"}, "from 32 to 2048"),
        ({"sizes": "224,4096"}, "from 32 to 2048"),
        ({"sizes": "224,288", "size": 160}, "--size 160 and --sizes"),
        ({"seed": -1}, "number from 0"),
        ({"seed": 1.5}, "a whole number for seed"),
        ({"seed": True}, "a whole number for seed"),
        ({"test_share": float("nan")}, "number from 0.01"),
        ({"test_share": 1}, "number from 0.01"),
        ({"head": "ride"}, "Did you mean ridge"),
        ({"offline": 1}, "true or false for offline"),
        ({"backbone": None}, "a text for backbone"),
        ({"batch_size": 0}, "number from 1"),
        ({"max_pixels": 0}, "at least 1"),
        ({"flip_tta": True, "flips": False}, "both --no-flips and --flip-tta"),
    ],
)
def test_wrong_values_are_refused_with_the_option_and_a_hint(values: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Recipe.from_dict(values)


def test_every_field_has_a_reason_in_the_comment_above_it() -> None:
    lines = Path(module.__file__).read_text(encoding="utf-8").splitlines()
    for spec in dataclasses.fields(Recipe):
        place = next(i for i, line in enumerate(lines) if re.match(rf"    {spec.name}: ", line))
        assert lines[place - 1].strip().startswith("#"), spec.name
        assert spec.metadata["about"]


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["dog", "cat"], ("dog", "cat")),
        ("dog, cat", ("dog", "cat")),
        ('cat,"cat, wild"', ("cat", "cat, wild")),
        (("ab", "A B"), ("ab", "A B")),
        (range(3), ("0", "1", "2")),
        (dict.fromkeys("ab").keys(), ("a", "b")),
        (["e\u0301", "e"], ("é", "e")),  # as folders and tables write it
        (None, ()),
        ([], ()),
    ],
)
def test_classes_are_names_in_their_order(given: object, names: tuple[str, ...]) -> None:
    recipe = Recipe().with_options({"classes": given})
    assert recipe.classes == recipe.layout.classes == names
    assert Recipe.from_dict(recipe.to_dict()) == recipe


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (5, "int"),
        (["a"], "['a']"),
        ("", "no name"),
        ("a,,b", "an empty name"),
        (["a", "b", "a"], "'a' 2 times"),
        ("e\u0301,é", "'é' 2 times"),
        (["a", 1.5], "1.5"),
        (["a", True], "True"),
        ({"a": 1, "b": 2}, "dict"),
    ],
)
def test_classes_that_cannot_be_a_list_are_refused(given: object, found: str) -> None:
    with pytest.raises(RecipeError) as refused:
        Recipe().with_options({"classes": given})
    assert refused.value.found == found


def test_the_layout_of_a_recipe_has_every_field() -> None:
    names = {field.name for field in dataclasses.fields(SourceLayout)}
    given = {"path_column": "p", "label_column": "l", "split_column": "s", "delimiter": ";", "label_from": "last",
             "group_by": "parent", "classes": ("b", "a")}  # fmt: skip
    assert set(given) == names
    assert dataclasses.asdict(Recipe(**given).layout) == given
