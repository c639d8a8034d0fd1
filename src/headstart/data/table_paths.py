"""Where the images of a table are: its paths as written, or the one image below its folder that a shorter path means.

In: a path as a cell has it. Out: the file, and how it was found.
"""

from __future__ import annotations

import os
from collections import defaultdict
from functools import cached_property
from pathlib import Path

from headstart.data.folder_scan import IMAGE_SUFFIXES, exists, read_tree


class TablePaths:
    """Paths of one table, read relative to its folder.

    Args:
        folder: of the table.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = plain_path(folder)

    def written(self, cell: str) -> Path:
        """The path that a cell names, whether or not it is there; backslashes are tried as separators."""
        path = plain_path(self.folder / cell.replace("\0", ""))
        if "\\" in cell and not exists(path):
            path = plain_path(self.folder / cell.replace("\\", "/"))
        return path

    def is_there(self, cell: str) -> bool:
        """Whether a cell names a file, or leads to exactly one image below the table's folder."""
        path = self.written(cell)
        return bool(cell) and (is_file(path) or len(self.meant(path)) == 1)

    def meant(self, path: Path) -> tuple[Path, ...]:
        """Images below the folder whose path ends as the missing one does, with any suffix where that has none."""
        if not path.is_relative_to(self.folder) or path == self.folder:
            return ()
        steps = path.relative_to(self.folder).as_posix()
        found = self._by_end.get(path.name, ())
        # `a.b` may be a whole name or one without its suffix; the files know which
        return tuple(
            sorted(
                self.folder / name
                for name in found
                if ("/" + name).endswith("/" + steps) or ("/" + os.path.splitext(name)[0]).endswith("/" + steps)  # noqa: PTH122  # posix text, not a path of this system
            )
        )

    @cached_property
    def _by_end(self) -> dict[str, list[str]]:
        """Images below the folder by their name, with and without the suffix."""
        found: dict[str, list[str]] = defaultdict(list)
        for name in read_tree(self.folder, IMAGE_SUFFIXES).images:
            last = name.rpartition("/")[2]
            for key in {last, os.path.splitext(last)[0]}:  # noqa: PTH122
                found[key].append(name)
        return found


def plain_path(path: Path) -> Path:
    """Absolute and without `..`, links left as they are."""
    return Path(os.path.normpath(path.absolute()))


def is_file(path: Path) -> bool:
    """Whether a file is there; False for a name that the system refuses."""
    return exists(path) and path.is_file()
