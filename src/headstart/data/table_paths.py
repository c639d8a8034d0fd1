"""Where the images of a table are: its paths as written, or the one image below its folder that a shorter path means.

In: a path as a cell has it. Out: the file, and how it was found.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property
from itertools import islice
from pathlib import Path
from urllib.parse import unquote

from headstart.data.folder_scan import IMAGE_SUFFIXES, exists, read_tree

_LOCAL = re.compile(r"file:(?://(?:localhost)?(?=/))?", re.IGNORECASE)  # RFC 8089
_ABSOLUTE = re.compile(r"(?:[a-z]:)?/", re.IGNORECASE)  # of this system or another; backslashes are slashes by then
_LOOKED_AT = 1000  # cells whose files are looked for to find out what a start means
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://|data:", re.IGNORECASE)  # two letters at least: C:\\ is a drive


class TablePaths:
    """Paths of one table, read relative to its folder.

    Args:
        folder: of the table.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = plain_path(folder)
        self._foreign_start = ""

    def drop_foreign_start(self, cells: Iterable[str]) -> str:
        """Read the absolute paths of another machine below the table's folder, and say how they began there.

        `/content/drive/photos/a/1.jpg` becomes `a/1.jpg` where all absolute cells begin with `/content/drive/photos/`,
        none of them is a file, and files are there without that start, or without one of the folders above it. Where
        two such starts lead to files, it stays open which is meant, and nothing is dropped: ''.
        """
        absolute = list(
            islice((_with_slashes(cell) for cell in cells if _ABSOLUTE.match(_with_slashes(cell))), _LOOKED_AT)
        )
        if not absolute or any(is_file(self.written(cell)) for cell in absolute):
            return ""
        try:
            start = posixpath.commonpath([posixpath.dirname(cell) for cell in absolute])
        except ValueError:  # some with a drive, some without
            return ""
        found = []
        while start:
            begins = start.rstrip("/") + "/"
            if any(is_file(self.folder / cell.removeprefix(begins)) for cell in absolute):
                found.append(begins)
            start = posixpath.dirname(start) if start != posixpath.dirname(start) else ""
        self._foreign_start = found[0] if len(found) == 1 else ""
        return self._foreign_start

    def written(self, cell: str) -> Path:
        """The path that a cell names, whether or not it is there.

        Backslashes are tried as separators, `%20` as addresses write a space; `file:` addresses are paths.
        """
        if self._foreign_start and _with_slashes(cell).startswith(self._foreign_start):
            return plain_path(self.folder / _with_slashes(cell).removeprefix(self._foreign_start).replace("\0", ""))
        local = _LOCAL.match(cell)
        path = plain_path(self.folder / (unquote(cell[local.end() :]) if local else cell.replace("\0", "")))
        for other in (cell.replace("\\", "/"), unquote(cell)):
            if other != cell and not local and not exists(path):
                changed = plain_path(self.folder / other.replace("\0", ""))
                path = changed if exists(changed) or "\\" in cell else path
        return path

    def is_there(self, cell: str) -> bool:
        """Whether a cell names a file, or leads to exactly one image below the table's folder."""
        path = self.written(cell)
        return bool(cell) and (is_file(path) or len(self.meant(path)) == 1)

    def meant(self, path: Path) -> tuple[Path, ...]:
        """Images below the folder whose path ends as the missing one does, with any suffix where that has none.

        Capitals count, unless there is none with the same.
        """
        if not path.is_relative_to(self.folder) or path == self.folder:
            return ()
        steps = path.relative_to(self.folder).as_posix()
        names = self._by_end.get(path.name.casefold(), ())
        same = [name for name in names if _ends(name, steps)]
        same = same or [name for name in names if _ends(name.casefold(), steps.casefold())]
        return tuple(sorted(self.folder / name for name in same))

    def has_other_suffix(self, path: Path) -> bool:
        """Whether the image of a path that is not there is there as another kind of file: `1.png` for `1.jpg`."""
        return path.suffix.lower() in IMAGE_SUFFIXES and bool(self.meant(path.with_suffix("")))

    @cached_property
    def _by_end(self) -> dict[str, list[str]]:
        """Images below the folder by their name in small letters, with and without the suffix."""
        found: dict[str, list[str]] = defaultdict(list)
        for name in read_tree(self.folder, IMAGE_SUFFIXES).images:
            last = name.rpartition("/")[2].casefold()
            for key in {last, os.path.splitext(last)[0]}:  # noqa: PTH122  # posix text, not a path of this system
                found[key].append(name)
        return found


def _with_slashes(cell: str) -> str:
    """A cell with the separators of this system where it has those of Windows."""
    return cell.replace("\\", "/")


def _ends(name: str, steps: str) -> bool:
    """`a.b` may be a whole name or one without its suffix; the files know which."""
    return ("/" + name).endswith("/" + steps) or ("/" + os.path.splitext(name)[0]).endswith("/" + steps)  # noqa: PTH122


def path_fault(cell: str, path: Path) -> str | None:
    """Why a cell names no file, as a kind of finding; None where it does.

    Args:
        path: that the cell leads to.
    """
    if not cell:
        return "no-path"
    if is_file(path):
        return None
    if _ADDRESS.match(cell) and not _LOCAL.match(cell):
        return "address"
    return "not-a-file" if exists(path) else "missing-file"


def plain_path(path: Path) -> Path:
    """Absolute and without `..`, links left as they are."""
    return Path(os.path.normpath(path.absolute()))


def is_file(path: Path) -> bool:
    """Whether a file is there; False for a name that the system refuses."""
    return exists(path) and path.is_file()
