"""Options from a file: a TOML file of them, or the record of a run."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from headstart import untrusted
from headstart.errors import RecipeError
from headstart.recipe import Recipe


def read_options(path: Path) -> dict[str, Any]:
    """Options by their names from a file: a TOML file of them, or the run.json of a run, whose recipe it gives.

    Raises:
        RecipeError: there is no such file, it cannot be read, an option is unknown, or a value is not allowed.
    """
    try:
        if path.suffix.lower() == ".toml":
            values = _read_toml(untrusted.read_text(path))
        else:
            values = untrusted.read_object(path)
            values = values.get("recipe", values)
    except (untrusted.Untrusted, OSError, tomllib.TOMLDecodeError) as error:
        found = (error.strerror if isinstance(error, OSError) else None) or str(error)
        expected = "options in a .toml file, or a run.json"
        raise RecipeError(
            expected=expected,
            found=found,
            where=f"--config {path}",
            hint="Write a line such as seed = 3 for each option into a .toml file, or name a run.json.",
        ) from error
    try:
        whole = Recipe.from_dict(values).to_dict()
    except RecipeError as error:
        error.where = f"--config {path}: {error.where.removeprefix('--').replace('-', '_')}"
        raise
    return {name: whole[name] for name in whole if name in values}


def _read_toml(text: str) -> dict[str, Any]:
    """Raises TOMLDecodeError for what is no TOML; a byte-order mark, as Windows writes it, is passed over."""
    try:
        values: dict[str, Any] = tomllib.loads(text.removeprefix("\ufeff"))
    except RecursionError:
        raise tomllib.TOMLDecodeError("lists or tables that are nested too deep") from None
    return values
