"""A figure as a file: PNG, SVG or PDF, by its suffix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headstart.data.output_record import record_figure
from headstart.errors import RecipeError
from headstart.files import atomic_write
from headstart.output_paths import writable_file

_SUFFIXES = (".png", ".svg", ".pdf")


def check_figure(path: Path) -> None:
    """Check that a figure can be written there, in the format that the suffix names.

    Raises:
        RecipeError: it is none of png, svg and pdf. RunError: no file can be written there.
    """
    if path.suffix.lower() not in _SUFFIXES:
        raise RecipeError(
            expected=" or ".join(_SUFFIXES),
            found=repr(path.suffix),
            where="--figure",
            hint="End the name of the file with one of these.",
        )
    writable_file(path, "--figure")


def write_figure(figure: Any, path: Path) -> None:
    """Write a Matplotlib figure; one that lies among images is recorded, so that it is never read as one of them.

    Raises:
        RunError: it cannot be written there.
    """
    with atomic_write(path) as part:
        figure.savefig(part, dpi=150, format=path.suffix[1:].lower())
    record_figure(path)
