"""What headstart wrote into folders, so that its own pictures and copies are never read as images of a class.

A verb that writes image files records them in `.headstart-output.json`: the whole folder where headstart made it, else
the files by name and size, so that a photograph that later takes the name of a picture is used.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable
from pathlib import Path

from headstart import files, runtime
from headstart.data.images import SUFFIXES
from headstart.data.source_record import NAME as SOURCE
from headstart.data.source_record import read_record
from headstart.errors import RecipeError
from headstart.untrusted import Kind, check_kinds, read_object

NAME = ".headstart-output.json"
_FORMAT = "headstart-output-1"
_KINDS: dict[str, Kind] = {"format": str, "whole": bool, "files": dict}
_MOST_BYTES = 100_000_000  # a million pictures; one of another tool is read no further
_IMAGES = frozenset(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
_RUN, _OF_RUN = "run.json", ("classifier.safetensors", "predictions.csv")


def output_folder(folder: Path) -> Path:
    """Make a folder for images that headstart writes; a new or empty one is recorded as headstart's own.

    Raises:
        RunError: it cannot be made or written to.
    """
    files.make_folder(folder)
    with files.os_errors(folder, expected="a folder that can be read"):
        is_new = not any(folder.iterdir())
    if is_new:
        record_folder(folder)
    return folder


def record_folder(folder: Path) -> None:
    """Record a folder, with all that it holds, as headstart's own.

    Raises:
        RunError: the record cannot be written.
    """
    _write(folder, {}, whole=True)


def record_files(folder: Path, names: Iterable[str]) -> None:
    """Record files that headstart wrote into a folder, beside files of others; a folder of its own needs no names.

    Raises:
        RunError: the record cannot be written.
    """
    whole, known = _read(folder)
    if whole:
        return
    with files.os_errors(folder, expected="a folder that can be read"):
        known |= {name: (folder / name).stat().st_size for name in names if (folder / name).exists()}
    _write(folder, known, whole=False)


def record_figure(path: Path) -> None:
    """Record a figure that was written beside images, where it would be one more image of their class.

    Raises:
        RunError: the record cannot be written.
    """
    if path.suffix.lower() not in _IMAGES:
        return
    with files.os_errors(path.parent, expected="a folder that can be read"):
        beside = (Path(entry.name).suffix.lower() for entry in path.parent.iterdir() if entry.name != path.name)
        if any(suffix in _IMAGES for suffix in beside):
            record_files(path.parent, [path.name])


def is_output_folder(folder: Path) -> bool:
    """Whether a folder is recorded as made by headstart."""
    return _read(folder)[0]


def recorded_files(folder: str) -> dict[str, int]:
    """Name → size in bytes of the files in a folder that headstart wrote beside files of others."""
    return _read(Path(folder))[1]


def is_output(folder: str, names: Collection[str]) -> bool:
    """Whether headstart made a folder with all it holds: pictures, sorted copies, a run, a demo, or a fetched set.

    A fetched folder without folders inside may well be one class of a larger set: that one is not meant.

    Args:
        names: of its entries.
    """
    if NAME in names and _read(Path(folder))[0]:
        return True
    if is_run(names):
        return True
    if SOURCE in names and read_record(Path(folder)) is not None:
        return sum(os.path.isdir(f"{folder}/{name}") for name in names if not name.startswith(".")) > 1  # noqa: PTH112
    return False


def is_run(names: Collection[str]) -> bool:
    """Whether a folder with entries of these names is one of a run."""
    return _RUN in names and any(name in names for name in _OF_RUN)


def real_cache() -> str:
    """Where the cache really lies, with the archives unpacked in it; empty where there is no usable one."""
    try:
        return os.path.realpath(runtime.cache_folder())
    except RecipeError:  # said where it is needed
        return ""


def _read(folder: Path) -> tuple[bool, dict[str, int]]:
    """Whether all of a folder is headstart's, and the files that are; nothing where the record is not one of ours."""
    try:
        found = check_kinds(read_object(folder / NAME, {}, most=_MOST_BYTES), _KINDS)
    except (OSError, ValueError, TypeError):
        return False, {}
    if found["format"] != _FORMAT:
        return False, {}
    return found["whole"], {name: size for name, size in found["files"].items() if isinstance(size, int)}


def _write(folder: Path, known: dict[str, int], *, whole: bool) -> None:
    text = json.dumps({"format": _FORMAT, "whole": whole, "files": known}, indent=1)
    files.write_text(folder / NAME, text, expected="a folder that can be written")
