"""A folder of data that appears complete or not at all: it is assembled in a hidden folder beside its final place."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from headstart.data.folder_scan import as_text
from headstart.data.source_record import NAME, SourceRecord, count_files, read_record, write_record
from headstart.errors import DataError


@dataclass(frozen=True)
class Fetched:
    """A data set on disk.

    Args:
        is_new: False when it was there already and nothing was done.
        notes: sentences for the user, such as a mirror that failed.
    """

    folder: Path
    record: SourceRecord
    is_new: bool
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        kept = {name: value for name, value in self.record.to_dict().items() if name != "key"}
        return {"folder": str(self.folder), "is_new": self.is_new, **kept, "notes": list(self.notes)}


def find_fetched(folder: Path, key: str, sha256: str = "") -> Fetched | None:
    """The same data set, fetched earlier into this folder; None when the folder is free.

    Raises:
        DataError: the folder holds something else.
    """
    try:
        is_free = not any(folder.iterdir()) if folder.is_dir() else not (folder.exists() or folder.is_symlink())
    except OSError as error:
        raise _in_use(folder, str(error)) from error
    if is_free:
        return None
    record = read_record(folder)
    if record is None or record.key != key:
        raise _in_use(folder, f"one with {record.source}" if record else _unknown(folder))
    if sha256 and not any(origin.sha256.startswith(sha256) for origin in record.origins):
        known = record.origins[0].sha256[:16]
        raise _in_use(folder, f"the same address with {f'the SHA-256 {known}…' if known else 'no SHA-256 noted'}")
    return Fetched(folder, record, is_new=False, notes=_missing(folder, record))


def make_staging(folder: Path) -> Path:
    """The hidden folder beside a data set in which it is assembled, cleared of what a killed call left.

    Raises:
        DataError: it cannot be made.
    """
    staging = folder.parent / f".{folder.name}.fetching"
    try:
        clear_staging(staging)
        staging.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            expected="a folder that can be written",
            found=str(error),
            where=as_text(str(folder)),
            hint="Choose another with --out.",
        ) from error
    return staging


def clear_staging(staging: Path) -> None:
    """Keep in a staging folder only downloads that can be resumed; without any, delete it."""
    for assembled in ("complete", "unpacked"):
        shutil.rmtree(staging / assembled, ignore_errors=True)
    if not any(path.is_file() for path in staging.rglob("*")):
        shutil.rmtree(staging, ignore_errors=True)


def publish(complete: Path, folder: Path, record: SourceRecord) -> Fetched:
    """Write the record and give the complete folder its name, in one step; then delete the staging folder.

    Raises:
        DataError: another process put something else into the folder meanwhile.
    """
    write_record(complete, record)
    try:
        if folder.is_dir():
            folder.rmdir()  # an empty one counts as free
        complete.rename(folder)
    except OSError as error:
        fetched = find_fetched(folder, record.key)
        if fetched is None:
            raise DataError(expected="a folder that can be written", found=str(error), where=folder) from error
        return fetched
    shutil.rmtree(complete.parent, ignore_errors=True)
    return Fetched(folder, read_record(folder) or record, is_new=True)


def today() -> str:
    """The date in UTC, ISO."""
    return datetime.now(UTC).date().isoformat()


def _unknown(folder: Path) -> str:
    """What is in a folder without a record that can be read: perhaps this very data set, whose record was damaged."""
    if os.path.lexists(folder / NAME):
        return f"one whose {NAME} is damaged, or is not one that fetch wrote"
    return "one that holds something else"


def _missing(folder: Path, record: SourceRecord) -> tuple[str, ...]:
    """A sentence where files of a data set were deleted since."""
    fewer = record.files - (count_files(folder) - 1)  # the record is one
    if fewer <= 0:
        return ()
    return (f"{fewer:,} of its {record.files:,} files are missing. To have all: remove the folder, and fetch again.",)


def _in_use(folder: Path, found: str) -> DataError:
    hint = "Choose another folder with --out, or remove this one."
    return DataError(expected="a new or an empty folder", found=found, where=as_text(str(folder)), hint=hint)
