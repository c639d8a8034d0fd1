"""The seal of a folder in the cache that is read again: whether it holds what was written, no more and no less.

What clears old files out of caches takes some of a folder and leaves the rest, and a person may edit or remove files
there: without a word the data set would be another one. Names, sizes and times of change are compared; nothing is read.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from headstart.files import remove
from headstart.line_file import append_line
from headstart.untrusted import read_text

_MOST_BYTES = 1_000_000  # one line for each time that a folder was made again


def add_seal(folder: Path, target: Path) -> None:
    """Keep the seal of a finished folder that is about to get its name.

    A line is added and none removed: where two processes make the same folder at once, that of either is good.

    Args:
        folder: the finished one. target: its name in the cache.

    Raises:
        RunError: it cannot be written.
    """
    append_line(_file(target), _seal(folder))


def is_as_written(target: Path) -> bool:
    """Whether a folder is there with the files that were written, none changed, removed or added."""
    try:
        return target.is_dir() and _seal(target) in read_text(_file(target), _MOST_BYTES).split()
    except (OSError, ValueError):
        return False


def is_altered(target: Path) -> bool:
    """Whether a folder has a seal, and is another one than was written; one of an older version has none."""
    return _file(target).is_file() and not is_as_written(target)


def discard(target: Path) -> None:
    """Remove a folder that is not as written, so that it can be made again.

    Raises:
        RunError: it cannot be removed.
    """
    remove(target, strict=True)
    if not _file(target).is_file() or _file(target).stat().st_size > _MOST_BYTES // 2:
        remove(_file(target), strict=True)


def _file(target: Path) -> Path:
    return target.with_name(f"{target.name}.seal")


def _seal(folder: Path) -> str:
    digest = hashlib.sha256()
    for line in sorted(_entries(folder, b"")):
        digest.update(line + b"\0")
    return digest.hexdigest()


def _entries(folder: Path, inside: bytes) -> Iterator[bytes]:
    """One line for each file below; whole seconds, as copies of a cache keep them."""
    with os.scandir(folder) as entries:
        for entry in entries:
            name = inside + os.fsencode(entry.name)
            if entry.is_dir(follow_symlinks=False):
                yield name + b"/"
                yield from _entries(folder / entry.name, name + b"/")
            else:
                facts = entry.stat(follow_symlinks=False)
                yield b"%s\0%d\0%d\0%d" % (name, facts.st_mode & 0o170000, facts.st_size, int(facts.st_mtime))
