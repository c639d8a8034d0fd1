"""The folder of images that have no class yet: a file in it says so, and its name is then no class anywhere."""

from __future__ import annotations

from pathlib import Path

from headstart import files

UNLABELLED = "unlabelled"
"""Name of the folder, in the folder of the classes."""
MARK = ".headstart-unlabelled"
_TEXT = """The images in this folder have no class yet: headstart reads no class from its name.
To make the folder a class, delete this file.
"""


def mark_unlabelled(folder: Path) -> Path:
    """Make a folder for images without a class, or mark one that is there.

    Raises:
        RunError: it cannot be made or written to.
    """
    files.make_folder(folder)
    if not is_unlabelled(folder):
        files.write_text(folder / MARK, _TEXT, expected="a folder that can be written")
    return folder


def is_unlabelled(folder: Path) -> bool:
    """Whether a folder is marked as one of images without a class."""
    return (folder / MARK).is_file()
