"""Where a fetched data set comes from: `source.json` in its folder, written before the folder gets its name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from headstart import files
from headstart.plain import Plain

NAME = "source.json"
_FORMAT = "headstart-source-1"


@dataclass(frozen=True)
class Origin(Plain):
    """One file that was fetched.

    Args:
        url: without what follows a `?`, since keys and signatures stand there.
        sha256: hex, of the archive; empty where only its unpacked files were seen.
    """

    url: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class SourceRecord(Plain):
    """What a data set is, where it comes from, and its licence.

    Args:
        source: for people: `rps`, `kaggle OWNER/NAME` or the address.
        key: the same for machines; two fetches with one key give the same data set.
        date: of the fetch, ISO, in UTC.
        licence: where known, else empty.
        home: page about the data set, where known, else empty.
    """

    source: str
    key: str
    date: str
    licence: str
    home: str
    origins: tuple[Origin, ...]


def write_record(folder: Path, record: SourceRecord) -> None:
    """Write `source.json`; a file of that name from the archive itself is kept as `source-of-archive.json`.

    Raises:
        RunError: it cannot be written there.
    """
    path = folder / NAME
    if path.exists():
        files.replace_file(path, folder / "source-of-archive.json")
    files.write_json(path, {"format": _FORMAT, **record.to_dict()})


def read_record(folder: Path) -> SourceRecord | None:
    """The record in a folder; None when there is none, or one that headstart did not write."""
    try:
        found = json.loads((folder / NAME).read_text(encoding="utf-8"))
        if found.pop("format") != _FORMAT:
            return None
        origins = tuple(Origin(**origin) for origin in found.pop("origins"))
        return SourceRecord(**found, origins=origins)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
