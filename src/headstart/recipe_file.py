"""Options from a file: a TOML file of them, or the record of a run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from headstart import untrusted
from headstart.errors import RecipeError
from headstart.recipe import Recipe

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found]


def read_options(path: Path) -> dict[str, Any]:
    """Options by their names from a file: a TOML file of them, or the run.json of a run, whose recipe it gives.

    Raises:
        RecipeError: there is no such file, it cannot be read, an option is unknown, or a value is not allowed.
    """
    try:
        if path.suffix == ".toml":
            values = tomllib.loads(untrusted.read_text(path))
        else:
            values = untrusted.read_object(path)
            values = values.get("recipe", values)
    except (untrusted.Untrusted, OSError, tomllib.TOMLDecodeError) as error:
        found = (error.strerror if isinstance(error, OSError) else None) or str(error)
        expected = "options in a .toml file, or a run.json"
        raise RecipeError(expected=expected, found=found, where=f"--config {path}") from error
    try:
        whole = Recipe.from_dict(values).to_dict()
    except RecipeError as error:
        error.where = f"--config {path}: {error.where.removeprefix('--').replace('-', '_')}"
        raise
    return {name: whole[name] for name in whole if name in values}
