"""Where a fetched data set is from: `source.json` in its folder, written before the folder gets its name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAME = "source.json"
_FORMAT = "headstart-source-1"


@dataclass(frozen=True)
class Origin:
    """One file that was fetched.

    Args:
        url: where from; what follows a `?` is left out, since keys and signatures stand there.
        sha256: hex, of the archive; empty where only its unpacked files were seen.
    """

    url: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class SourceRecord:
    """What a data set is, where it is from, and what may be done with it.

    Args:
        source: for people: `rps`, `kaggle OWNER/NAME` or the address.
        key: the same for machines; two fetches with one key bring the same set.
        date: of the fetch, ISO, in UTC.
        licence: where known, else empty.
        home: page about the set, where known, else empty.
    """

    source: str
    key: str
    date: str
    licence: str
    home: str
    origins: tuple[Origin, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**self.__dict__, "origins": [dict(origin.__dict__) for origin in self.origins]}


def write_record(folder: Path, record: SourceRecord) -> None:
    """Write `source.json`; a file of that name from the archive itself is kept as `source-of-archive.json`."""
    path = folder / NAME
    if path.exists():
        path.rename(folder / "source-of-archive.json")
    text = json.dumps({"format": _FORMAT, **record.to_dict()}, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def read_record(folder: Path) -> SourceRecord | None:
    """The record in a folder; None when there is none, or one that we did not write."""
    try:
        found = json.loads((folder / NAME).read_text(encoding="utf-8"))
        if found.pop("format") != _FORMAT:
            return None
        origins = tuple(Origin(**origin) for origin in found.pop("origins"))
        return SourceRecord(**found, origins=origins)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
