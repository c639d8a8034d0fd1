"""Kept: images whose label a person has found to be right, so that they are not asked about again.

A line of `.headstart/kept.jsonl` for each; it holds for the bytes of the file and that label, wherever the file goes,
and is taken back by one line more.
"""

from __future__ import annotations

import json
from pathlib import Path

from headstart import files
from headstart.errors import DataError
from headstart.line_file import append_line
from headstart.studio.journal import HIDDEN
from headstart.untrusted import parse_json

_MOST_BYTES = 100_000_000


class Kept:
    """The decisions of one folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / HIDDEN / "kept.jsonl"
        self._held: dict[str, bool] = {}
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
        return self._held.get(f"{content} {label}", False)

    def decide(self, content: str, label: str, *, is_right: bool) -> None:
        """Note that a label of an image is right, or take that back.

        Raises:
            RunError: it cannot be written.
        """
        files.make_folder(self._path.parent)
        key = f"{content} {label}"
        append_line(self._path, json.dumps({"key": key, "right": is_right}))
        self._held[key] = is_right

    def _take(self, line: bytes) -> None:
        try:
            values = parse_json(line)
            self._held[str(values["key"])] = values["right"] is True
        except (ValueError, KeyError, TypeError):  # empty, cut off, or not ours: one question more
            return
