"""A folder of data that appears whole or not at all: what is fetched gathers in a hidden folder beside it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from headstart.data.folder_scan import as_text
from headstart.data.source_record import SourceRecord, read_record, write_record
from headstart.errors import DataError


@dataclass(frozen=True)
class Fetched:
    """A data set on disk.

    Args:
        is_new: False when it was there already and nothing was done.
        notes: what the user should know of it, such as a mirror that failed.
    """

    folder: Path
    record: SourceRecord
    is_new: bool
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        kept = {name: value for name, value in self.record.to_dict().items() if name != "key"}
        return {"folder": str(self.folder), "is_new": self.is_new, **kept, "notes": list(self.notes)}


def find_landed(folder: Path, key: str, sha256: str = "") -> Fetched | None:
    """The same data set, fetched earlier into this folder; None when the folder is free.

    Raises:
        DataError: the folder holds something else.
    """
    try:
        is_free = not any(folder.iterdir()) if folder.is_dir() else not (folder.exists() or folder.is_symlink())
    except OSError as error:
        raise _taken(folder, str(error)) from error
    if is_free:
        return None
    record = read_record(folder)
    if record is None or record.key != key:
        found = f"one with {record.source}" if record else "one that holds something else"
        raise _taken(folder, found)
    if sha256 and not any(origin.sha256.startswith(sha256) for origin in record.origins):
        raise _taken(folder, f"the same address with the SHA-256 {record.origins[0].sha256[:16]}…")
    return Fetched(folder, record, is_new=False)


def staging_of(folder: Path) -> Path:
    """The hidden folder beside a data set in which it gathers, made if need be, cleared of a killed call's leavings.

    Raises:
        DataError: it cannot be made.
    """
    staging = folder.parent / f".{folder.name}.fetching"
    try:
        clear_staging(staging)
        staging.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            expected="a place that can be written", found=str(error), where=as_text(str(folder)), hint="Name another."
        ) from error
    return staging


def clear_staging(staging: Path) -> None:
    """Leave in a staging folder only what was fetched and waits to be taken up again; nothing: no folder."""
    for made_again in ("whole", "unpacked"):
        shutil.rmtree(staging / made_again, ignore_errors=True)
    if not any(path.is_file() for path in staging.rglob("*")):
        shutil.rmtree(staging, ignore_errors=True)


def land(whole: Path, folder: Path, record: SourceRecord) -> Fetched:
    """Write the record and give the finished folder its name, in one step; then remove the staging folder.

    Raises:
        DataError: the folder was filled by someone else meanwhile.
    """
    write_record(whole, record)
    try:
        if folder.is_dir():
            folder.rmdir()  # an empty one was found free
        whole.rename(folder)
    except OSError as error:
        there = find_landed(folder, record.key)
        if there is None:
            raise DataError(expected="a folder that can be written", found=str(error), where=folder) from error
        return there
    shutil.rmtree(whole.parent, ignore_errors=True)
    return Fetched(folder, record, is_new=True)


def today() -> str:
    """The date in UTC, ISO."""
    return datetime.now(timezone.utc).date().isoformat()


def _taken(folder: Path, found: str) -> DataError:
    hint = "Name another folder with --out, or remove this one."
    return DataError(expected="a new or an empty folder", found=found, where=as_text(str(folder)), hint=hint)
