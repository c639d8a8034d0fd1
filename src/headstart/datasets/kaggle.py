"""Data sets of Kaggle, through its own client kagglehub: resumed, measured, whole or not at all."""

from __future__ import annotations

import errno
import importlib
import logging
import os
import re
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from headstart import runtime
from headstart.data.archive import TOO_LARGE, unpack
from headstart.data.folder_scan import as_text
from headstart.data.source_record import Origin, SourceRecord
from headstart.datasets.kaggle_credential import HOW_TO_LOG_IN, Credential, find_credential
from headstart.datasets.staging import Fetched, clear_staging, find_landed, land, staging_of, today
from headstart.download import NO_ROOM
from headstart.errors import DataError

_HANDLE = re.compile(r"[\w-]+/\w[\w.-]*(/versions/\d+)?")
_PAGE = re.compile(r"https?://(?:www\.)?kaggle\.com/datasets/([\w-]+/\w[\w.-]*(?:/versions/\d+)?)/?(?:[?#].*)?")
_CACHE = "KAGGLEHUB_CACHE"
_TRIES = 4


def kaggle_handle(text: str) -> str:
    """`OWNER/NAME`, or `OWNER/NAME/versions/3`, from itself or from the address of its page.

    Raises:
        DataError: it is neither.
    """
    page = _PAGE.fullmatch(text)
    handle = page.group(1) if page else text
    if not _HANDLE.fullmatch(handle):
        hint = "It is the end of the page's address: https://www.kaggle.com/datasets/OWNER/NAME."
        raise DataError(expected="OWNER/NAME of a Kaggle data set", found=repr(as_text(text)), hint=hint)
    return handle


def is_kaggle_page(text: str) -> bool:
    """True for the address of a data set's page, which is no archive."""
    return _PAGE.fullmatch(text) is not None


def fetch_kaggle(
    handle: str,
    folder: Path,
    *,
    note: Callable[[str], None] | None = None,
    max_bytes: int = 20_000_000_000,
    max_files: int = 1_000_000,
    pause: float = 1.0,
) -> Fetched:
    """Fetch a data set of Kaggle into a folder; done already, nothing is done.

    kagglehub fetches, resumes and checks the MD5, in a hidden folder beside the data set (or in its own cache, where
    KAGGLEHUB_CACHE names one or a Kaggle notebook has the set mounted: then files are copied); we unpack.

    Args:
        max_bytes: of all files. The archive's own length is not looked at.

    Raises:
        DataError: kagglehub is not installed, Kaggle refuses or does not answer, the set passes a limit or holds
            links, or the folder holds something else.
    """
    handle = kaggle_handle(handle)
    there = find_landed(folder, f"kaggle:{handle}")
    if there:
        return there
    client = _kagglehub()
    notes = _remarks(find_credential())
    if note:
        for text in notes:
            note(text)
    staging = staging_of(folder)
    try:
        with _unpacking(max_bytes, max_files) as hashes:
            came = _download(client, handle, staging, pause)
        size = _measure(came, max_bytes, max_files)
        whole = _bring_in(came, staging, size)
        fetched = land(whole, folder, _record(handle, came, size, *hashes))
    finally:
        clear_staging(staging)
    return replace(fetched, notes=tuple(notes))


def _kagglehub() -> ModuleType:
    try:
        return importlib.import_module("kagglehub")
    except ImportError as error:
        hint = "pip install 'headstart[kaggle]', or pip install kagglehub."
        raise DataError(
            expected="the package kagglehub", found="it is not installed", where="fetch kaggle", hint=hint
        ) from error


def _remarks(credential: Credential | None) -> list[str]:
    if credential is None:
        return ["No Kaggle credential found: only data sets that need no consent can be fetched."]
    if credential.is_open:
        return [f"{credential.path} can be read by others on this machine: chmod 600 {credential.path}"]
    return []


def _download(client: ModuleType, handle: str, staging: Path, pause: float) -> Path:
    for number in range(_TRIES):
        try:
            with _gathering_in(staging), _quiet():
                return Path(client.dataset_download(handle))
        except DataError:  # from our unpacking
            raise
        except Exception as error:  # whatever a foreign client raises: its own words are told, the cause stays chained
            is_broken_line = isinstance(error, OSError) and not _code(error) and not _is_full(error)
            if not is_broken_line or number == _TRIES - 1:
                raise _failed(handle, error) from error
        time.sleep(pause * 2**number)  # the next try goes on where this one broke
    raise AssertionError("the last try returns or raises")


def _code(error: Exception) -> int:
    """HTTP status that an error of kagglehub is about; 0: none."""
    return int(getattr(getattr(error, "response", None), "status_code", 0))


def _is_full(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def _unpacking(max_bytes: int, max_files: int) -> Iterator[list[str]]:
    """Put our bounded unpacking in the place of kagglehub's, which has no limit; gives the hash of what was unpacked.

    It is a private function of kagglehub. In a version without it, `_measure` refuses afterwards what passes a limit.
    """
    resolver = sys.modules.get("kagglehub.http_resolver")
    theirs = getattr(resolver, "_extract_archive", None)
    hashes: list[str] = []

    def unpack_safely(archive: str, out: str) -> None:
        hashes.append(_unpack(Path(archive), Path(out), max_bytes, max_files))

    if theirs:
        setattr(resolver, "_extract_archive", unpack_safely)  # noqa: B010  # it may be missing, says mypy
    try:
        yield hashes
    finally:
        if theirs:
            setattr(resolver, "_extract_archive", theirs)  # noqa: B010


def _unpack(archive: Path, target: Path, max_bytes: int, max_files: int) -> str:
    """Unpack into the target and give the archive's SHA-256."""
    try:
        folder = unpack(archive, target.parent, max_bytes=max_bytes, max_files=max_files)
    except DataError as error:
        if error.hint not in (NO_ROOM, TOO_LARGE):
            archive.unlink()  # another try must not find the same bytes
        raise
    shutil.rmtree(target, ignore_errors=True)
    folder.rename(target)
    return folder.name


@contextmanager
def _gathering_in(staging: Path) -> Iterator[None]:
    """Let kagglehub gather beside the data set, on its disk, unless the user has named a place for it."""
    if os.environ.get(_CACHE):
        yield
        return
    os.environ[_CACHE] = str(staging)
    try:
        yield
    finally:
        del os.environ[_CACHE]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep kagglehub's remarks out of stdout, where our result goes; its progress bar is on stderr."""
    logger = logging.getLogger("kagglehub")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        logger.setLevel(level)


def _failed(handle: str, error: Exception) -> DataError:
    code = _code(error)
    page = f"https://www.kaggle.com/datasets/{handle}"
    credential = find_credential()
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    found, hint = as_text(first), "Try again later: what has arrived is kept."
    if code in (401, 403, 404):
        found = {401: "a login is wanted", 403: "it is not allowed", 404: "there is none, or it is private"}[code]
        found = f"HTTP {code}: {found}"
        hint = f"Check the name at {page}; some sets want their terms accepted there once. "
        hint += f"The credential in {credential.where} was used." if credential else HOW_TO_LOG_IN
    elif _is_full(error):
        found, hint = "a full disk", NO_ROOM
    elif isinstance(error, ValueError) and credential and credential.path:  # kagglehub cannot read the file
        hint = HOW_TO_LOG_IN
    return DataError(expected=f"the Kaggle data set {handle}", found=found, where=page, hint=hint)


def _measure(folder: Path, max_bytes: int, max_files: int) -> int:
    """Bytes of all files."""
    size = count = 0
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place) / name
            status = path.lstat()
            count += 1
            size += status.st_size if stat.S_ISREG(status.st_mode) else 0
            if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
                shown = as_text(path.relative_to(folder).as_posix())
                raise DataError(expected="files and folders only", found=f"{shown!r}, a link or a device", where=folder)
        if size > max_bytes or count > max_files:
            expected = f"at most {max_bytes:,} bytes in {max_files:,} files"
            raise DataError(expected=expected, found="more", where=folder, hint=TOO_LARGE)
    return size


def _bring_in(came: Path, staging: Path, size: int) -> Path:
    """The files at their last stop: moved when they are ours, copied when kagglehub or a notebook keeps them."""
    whole = staging / "whole"
    shutil.rmtree(whole, ignore_errors=True)
    if staging.absolute() in came.absolute().parents:
        came.rename(whole)
        return whole
    free = runtime.free_bytes(staging)
    if size > free:
        raise DataError(
            expected=f"{size / 1e9:.1f} GB of free disk",
            found=f"{free / 1e9:.1f} GB",
            where=staging.parent,
            hint=NO_ROOM,
        )
    shutil.copytree(came, whole)
    return whole


def _record(handle: str, came: Path, size: int, sha256: str = "") -> SourceRecord:
    page = f"https://www.kaggle.com/datasets/{handle}"
    version = came.name if came.parent.name == "versions" and "/versions/" not in handle else ""
    address = f"{page}/versions/{version}" if version else page
    licence = "see its page"
    return SourceRecord(
        f"kaggle {handle}", f"kaggle:{handle}", today(), licence, page, (Origin(address, sha256, size),)
    )
