"""Where a fetched data set comes from: `source.json` in its folder, written before the folder gets its name."""

from __future__ import annotations

from dataclasses import dataclass
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
        found = read_object(folder / NAME, {"format": str, "origins": list}, most=_MOST_BYTES)
        if found.pop("format") != _FORMAT:
            return None
        origins = tuple(Origin(**origin) for origin in found.pop("origins"))
        return check_fields(SourceRecord(**found, origins=origins))
    except (OSError, ValueError, TypeError):
        return None
