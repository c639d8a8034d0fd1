"""out_folder: the folder that a user names for what is written, as a path that ends in its name."""

from __future__ import annotations

from pathlib import Path

from headstart.errors import RunError


def out_folder(folder: str | Path) -> Path:
    """The same folder under a path with a name: `.` and `..` are those that one stands in.

    Raises:
        RunError: it has no name, as the root of a disk, or the user after ~ is unknown.
    """
    try:
        path = Path(folder).expanduser()
    except RuntimeError as error:  # ~nobody
        raise RunError(expected="a folder", found=f"{str(folder)!r}: {error}", hint="Choose one with --out.") from error
    path = path.resolve() if path.name in ("", "..") else path
    if not path.name:
        raise RunError(expected="a folder with a name", found=repr(str(path)), hint="Choose one with --out.")
    return path
