"""Options from a file come as they would be given, or are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headstart.errors import RecipeError
from headstart.recipe_file import read_options


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


def test_a_mark_of_windows_is_passed_over_and_depth_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "recipe.TOML").write_bytes(b"\xef\xbb\xbfseed = 3\r\n")
    (tmp_path / "deep.toml").write_text("a = " + "[" * 5000 + "]" * 5000, "utf-8")

    assert read_options(tmp_path / "recipe.TOML") == {"seed": 3}
    with pytest.raises(RecipeError, match="nested too deep") as refused:
        read_options(tmp_path / "deep.toml")
    assert refused.value.hint
