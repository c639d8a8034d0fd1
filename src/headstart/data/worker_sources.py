"""Which sources only workers read: Parquet files, webdataset tars, and all at an address; and how to say so.

In: a source as the user named it. Out: yes or no, the words of a command that trains on it, or an error.
"""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

from headstart.data.archive import is_archive
from headstart.data.folder_scan import IMAGE_SUFFIXES, exists
from headstart.errors import DataError

TABLES, TARS = (".parquet", ".parq"), (".tar", ".tar.gz", ".tgz")
_SIDE_FILES = (".cls", ".json", ".txt")
_PEEKED = 8  # members of a tar that say whether it is a webdataset
# two letters or more: `C:/` is a disk. One slash: a Path keeps no more of `s3://`
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_HINT = (
    "Parquet files, webdataset tars and addresses are read by workers: add --on local, which train, predict, evaluate, "
    "embed and audit take."
)


def needs_workers(source: str | Path) -> bool:
    """Whether only workers read it."""
    text = str(source)
    return bool(_ADDRESS.match(text)) or is_parquet(text) or is_webdataset(text)


def check_read_here(source: str | Path, *, expected: str) -> None:
    """Refuse what only workers read. A folder or a tar may be read in another way, too, and passes.

    Raises:
        DataError: it is a Parquet file, a pattern of tars, or an address.
    """
    text = str(source)
    if needs_workers(text) and not (exists(Path(text)) and not text.endswith(TABLES)):
        found = "an address" if _ADDRESS.match(text) else "a Parquet file" if text.endswith(TABLES) else "a pattern"
        raise DataError(expected=expected, found=found, where=text, hint=_HINT)


def recorded_source(source: str | Path) -> str:
    """A source as it is found from any folder: an absolute path, or the address itself."""
    return str(source) if _ADDRESS.match(str(source)) else str(Path(source).absolute())


def training_words(source: str | Path) -> list[str]:
    """The words of the command that trains on a source."""
    return ["headstart", "train", str(source), *(["--on", "local"] if needs_workers(source) else [])]


def is_parquet(source: str) -> bool:
    """Whether it is Parquet files: one, a pattern or address of some, or a folder that holds some."""
    if source.endswith(TABLES):
        return True
    folder = Path(source)
    return exists(folder) and folder.is_dir() and next(folder.glob("*.parquet"), None) is not None


def is_webdataset(source: str) -> bool:
    """Whether it is tars of a webdataset: a pattern or address of some, or one with side files for its images."""
    if not source.endswith(TARS):
        return False
    if _ADDRESS.match(source) or any(c in source for c in "*?["):
        return True
    if not is_archive(Path(source)):
        return False
    try:
        with tarfile.open(source, mode="r|*") as tar:
            names = [member.name for _, member in zip(range(_PEEKED), tar, strict=False) if member.isfile()]
    except (tarfile.TarError, EOFError, OSError):
        return False  # `unpack` says what is wrong with it
    sides = {_key(name) for name in names if name.endswith(_SIDE_FILES)}
    return any(_key(name) in sides for name in names if Path(name).suffix.lower() in IMAGE_SUFFIXES)


def _key(name: str) -> str:
    folder, _, last = name.rpartition("/")
    return f"{folder}/{last.partition('.')[0]}"
