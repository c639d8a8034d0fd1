"""Where a fetched data set comes from: `source.json` in its folder, written before the folder gets its name."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from headstart import files
from headstart.plain import Plain
from headstart.untrusted import check_fields, read_object

NAME = "source.json"
_FORMAT = "headstart-source-1"
_MOST_BYTES = 10_000_000  # 50,000 origins; a folder may hold another file of this name


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
        files: how many it has, without this record; 0: not noted, as before 0.3.
    """

    source: str
    key: str
    date: str
    licence: str
    home: str
    origins: tuple[Origin, ...]
    files: int = 0


def write_record(folder: Path, record: SourceRecord) -> None:
    """Write `source.json` into a complete data set.

    A file of that name from the archive itself is kept as `source-of-archive.json`.

    Raises:
        RunError: it cannot be written there.
    """
    path, record = folder / NAME, replace(record, files=count_files(folder))
    if path.exists():
        files.replace_file(path, folder / "source-of-archive.json")
    files.write_json(path, {"format": _FORMAT, **record.to_dict()})


def count_files(folder: Path) -> int:
    """The files below a folder, links among them."""
    return sum(len(names) for _, _, names in os.walk(folder))


def read_record(folder: Path) -> SourceRecord | None:
    """The record in a folder; None when there is none, or one that headstart did not write."""
    try:
        found = read_object(folder / NAME, {"format": str, "origins": list}, most=_MOST_BYTES)
        if found.pop("format") != _FORMAT:
            return None
        origins = tuple(Origin(**origin) for origin in found.pop("origins"))
        record = check_fields(SourceRecord(**found, origins=origins))
    except (OSError, ValueError, TypeError):
        return None
    # no fetch is without a file, and no file smaller than nothing
    return record if origins and record.files >= 0 and all(origin.size_bytes >= 0 for origin in origins) else None
