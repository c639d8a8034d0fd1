"""Kept: images whose label a person has found to be right, so that they are not asked about again.

A line of `.headstart/kept.jsonl` for each; it holds for the bytes of the file and that label, wherever the file goes,
until the change of the journal that it names is undone.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from headstart import files
from headstart.errors import DataError
from headstart.line_file import append_line
from headstart.studio.journal import HIDDEN
from headstart.untrusted import parse_json

_MOST_BYTES = 100_000_000


class Kept:
    """The decisions of one folder.

    Args:
        stands: whether a change of the journal, by its number, was not undone.
    """

    def __init__(self, folder: Path, stands: Callable[[int], bool]) -> None:
        self._path, self._stands = folder / HIDDEN / "kept.jsonl", stands
        self._held: dict[str, bool | int] = {}  # number of the change; yes or no in files of earlier versions
        if self._path.is_file():
            with files.os_errors(self._path, kind=DataError):
                lines = self._path.read_bytes()[:_MOST_BYTES].split(b"\n")
            for line in lines:
                self._take(line)

    def has(self, content: str, label: str) -> bool:
        """Whether a label of an image was found to be right.

        Args:
            content: SHA-256 of the file's bytes, hex.
        """
        held = self._held.get(f"{content} {label}", False)
        return held if isinstance(held, bool) else self._stands(held)

    def decide(self, content: str, label: str, *, change: int) -> None:
        """Note that a label of an image is right, until that change is undone.

        Raises:
            RunError: it cannot be written.
        """
        files.make_folder(self._path.parent)
        key = f"{content} {label}"
        append_line(self._path, json.dumps({"key": key, "right": True, "change": change}))
        self._held[key] = change

    def _take(self, line: bytes) -> None:
        try:
            values = parse_json(line)
            change, is_right = values.get("change"), values["right"] is True
            is_number = isinstance(change, int) and not isinstance(change, bool)
            self._held[str(values["key"])] = change if is_number and is_right else is_right
        except (ValueError, KeyError, TypeError, AttributeError):  # empty, cut off, or not ours: one question more
            return
