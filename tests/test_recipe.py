"""Recipe: values are checked, unknown keys are errors, and it comes back from its own record."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from headstart import recipe as module
from headstart.errors import RecipeError
from headstart.recipe import Recipe, read_options


def test_a_recipe_comes_back_from_its_own_values() -> None:
    recipe = Recipe(backbone="resnet50", test_share=0.3, offline=True)
    assert Recipe.from_dict(recipe.to_dict()) == recipe


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sead": 1}, "Did you mean seed"),
        ({"seed": -1}, "number from 0"),
        ({"seed": 1.5}, "int for seed"),
        ({"seed": True}, "int for seed"),
        ({"test_share": float("nan")}, "number from 0.01"),
        ({"test_share": 1}, "number from 0.01"),
        ({"head": "ride"}, "Did you mean ridge"),
        ({"offline": 1}, "bool for offline"),
        ({"backbone": None}, "str for backbone"),
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


def test_options_come_from_a_toml_file_or_the_record_of_a_run(tmp_path: Path) -> None:
    toml, record = tmp_path / "recipe.toml", tmp_path / "run.json"
    toml.write_text('backbone = "embedded"\nseed = 3\nflips = false\n', "utf-8")
    record.write_text(json.dumps({"version": 2, "recipe": {"backbone": "random", "seed": 5}}), "utf-8")

    assert read_options(toml) == {"backbone": "embedded", "seed": 3, "flips": False}
    assert read_options(record) == {"backbone": "random", "seed": 5}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.toml", "seed = ", "options in a .toml"),
        ("a.toml", "sed = 3", "seed"),
        ("a.toml", 'seed = "x"', "seed"),
        ("a.json", "[1]", "options in a .toml"),
        ("missing.toml", None, "options in a .toml"),
    ],
)
def test_a_file_that_holds_no_options_is_refused(name: str, text: str | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(RecipeError, match=message):
        read_options(tmp_path / name)
