"""Data sets of Kaggle, through its own client kagglehub: resumed, bounded, complete or not there at all."""

from __future__ import annotations

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
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TypeGuard

from headstart import runtime
from headstart.data.archive import TOO_LARGE, ArchiveError, unpack
from headstart.data.folder_scan import as_text
from headstart.data.source_record import Origin, SourceRecord
from headstart.datasets.staging import Fetched, clear_staging, find_fetched, make_staging, publish, today
from headstart.download import FREE_SPACE, hint_for_disk
from headstart.errors import DataError
from headstart.files import expanded, os_error
from headstart.refusals import OF_A_DISK

_HANDLE = re.compile(r"[\w-]+/\w[\w.-]*(/versions/\d+)?")
_PAGE = re.compile(r"https?://(?:www\.)?kaggle\.com/datasets/([\w-]+/\w[\w.-]*(?:/versions/\d+)?)/?(?:[?#].*)?")
_CACHE = "KAGGLEHUB_CACHE"
_TRIES = 4
HOW_TO_LOG_IN = (
    "Create a token at https://www.kaggle.com/settings/api (Generate New Token) and put it into the variable "
    "KAGGLE_API_TOKEN or the file ~/.kaggle/access_token. Or there: Create Legacy API Key, and put its kaggle.json "
    "into ~/.kaggle or the folder that KAGGLE_CONFIG_DIR names, or its two values into KAGGLE_USERNAME and KAGGLE_KEY."
)


def kaggle_handle(text: str) -> str:
    """`OWNER/NAME`, or `OWNER/NAME/versions/3`, from that text or from the address of its page.

    Raises:
        DataError: the text is neither.
    """
    page = _PAGE.fullmatch(text)
    handle = page.group(1) if page else text
    if not _HANDLE.fullmatch(handle):
        hint = "It is the end of the page's address: https://www.kaggle.com/datasets/OWNER/NAME."
        raise DataError(expected="OWNER/NAME of a Kaggle data set", found=repr(as_text(text)), hint=hint)
    return handle


def is_kaggle_page(text: str) -> bool:
    """True for the address of a data set's page, which is not an archive."""
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
    """Download a data set of Kaggle into a folder; if it is there already, nothing is done.

    kagglehub downloads, resumes and checks the MD5, in a hidden folder beside the data set (or in its own cache, where
    KAGGLEHUB_CACHE names one or a Kaggle notebook has the data set mounted: then files are copied); headstart unpacks.

    Args:
        max_bytes: of all files; the archive's own length is not checked.

    Raises:
        DataError: kagglehub is not installed, Kaggle refuses or does not answer, the data set exceeds a limit or holds
            links, or the folder holds something else.
    """
    handle = kaggle_handle(handle)
    fetched = find_fetched(folder, f"kaggle:{handle}")
    if fetched:
        return fetched
    client = _kagglehub()
    notes = _credential_notes(find_credential())
    if note:
        for text in notes:
            note(text)
    staging = make_staging(folder)
    try:
        with _safe_unpacking(max_bytes, max_files) as hashes:
            downloaded = _download(client, handle, staging, pause=pause)
        size = _measure(downloaded, max_bytes, max_files)
        complete = _move_in(downloaded, staging, size)
        fetched = publish(complete, folder, _record(handle, downloaded, Origin("", "".join(hashes[-1:]), size)))
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


def _credential_notes(credential: Credential | None) -> list[str]:
    if credential is None:
        return ["No Kaggle credential found: only data sets that need no consent can be fetched."]
    if credential.is_open:
        return [f"{credential.path} can be read by others on this machine: chmod 600 {credential.path}"]
    return []


def _download(client: ModuleType, handle: str, staging: Path, *, pause: float) -> Path:
    for number in range(_TRIES):
        try:
            with _cache_in(staging), _quiet():
                return Path(client.dataset_download(handle))
        except DataError:  # from our unpacking
            raise
        except Exception as error:  # whatever kagglehub raises: its message is passed on, the cause stays chained
            is_interrupted = isinstance(error, OSError) and not _code(error) and not _is_of_disk(error)
            if not is_interrupted or number == _TRIES - 1:
                raise _failed(handle, error) from error
        time.sleep(pause * 2**number)  # the next try resumes where this one broke
    raise AssertionError("the last try returns or raises")


def _code(error: Exception) -> int:
    """HTTP status of an error of kagglehub; 0: none."""
    return int(getattr(getattr(error, "response", None), "status_code", 0))


def _is_of_disk(error: Exception) -> TypeGuard[OSError]:
    return isinstance(error, OSError) and error.errno in OF_A_DISK


@contextmanager
def _safe_unpacking(max_bytes: int, max_files: int) -> Iterator[list[str]]:
    """Replace kagglehub's unpacking, which has no limits, by ours; yields the SHA-256 of each unpacked archive.

    It is a private function of kagglehub. In a version without it, `_measure` checks the limits afterwards.
    """
    resolver = sys.modules.get("kagglehub.http_resolver")
    theirs = getattr(resolver, "_extract_archive", None)
    hashes: list[str] = []

    def unpack_safely(archive: str, out: str) -> None:
        hashes.append(_unpack(Path(archive), Path(out), max_bytes=max_bytes, max_files=max_files))

    if theirs:
        setattr(resolver, "_extract_archive", unpack_safely)  # noqa: B010  # it may be missing, says mypy
    try:
        yield hashes
    finally:
        if theirs:
            setattr(resolver, "_extract_archive", theirs)  # noqa: B010


def _unpack(archive: Path, target: Path, *, max_bytes: int, max_files: int) -> str:
    """Unpack into the target and give the archive's SHA-256."""
    try:
        folder = unpack(archive, target.parent, max_bytes=max_bytes, max_files=max_files)
    except ArchiveError:
        archive.unlink()
        raise
    shutil.rmtree(target, ignore_errors=True)
    folder.rename(target)
    return folder.name


@contextmanager
def _cache_in(staging: Path) -> Iterator[None]:
    """Let kagglehub download beside the data set, on its disk, unless the user has set a cache folder."""
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
    """Keep kagglehub's messages out of stdout, where our result goes; its progress bar is on stderr."""
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
    found, hint = as_text(first), "Try again later: partial downloads are kept."
    if code in (401, 403, 404):
        found = {401: "login required", 403: "access denied", 404: "not found, or private"}[code]
        found = f"HTTP {code}: {found}"
        hint = f"Check the name at {page}; some data sets require that you accept their terms there once. "
        hint += f"The credential in {credential.where} was used." if credential else HOW_TO_LOG_IN
    elif _is_of_disk(error):
        mistake = os_error(error, hint=hint_for_disk(error))
        found, hint = mistake.found, mistake.hint
    elif isinstance(error, ValueError) and credential and credential.path:  # kagglehub cannot read the file
        hint = HOW_TO_LOG_IN
    return DataError(expected=f"the Kaggle data set {handle}", found=found, where=page, hint=hint)


def _measure(folder: Path, max_bytes: int, max_files: int) -> int:
    """Bytes of all files."""
    size = count = 0
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(parent) / name
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


def _move_in(downloaded: Path, staging: Path, size: int) -> Path:
    """The complete folder in staging: moved when the files are ours, copied when kagglehub or a notebook keeps them."""
    complete = staging / "complete"
    shutil.rmtree(complete, ignore_errors=True)
    if staging.absolute() in downloaded.absolute().parents:
        downloaded.rename(complete)
        return complete
    free = runtime.free_bytes(staging)
    if size > free:
        raise DataError(
            expected=f"{size / 1e9:.1f} GB of free disk",
            found=f"{free / 1e9:.1f} GB",
            where=staging.parent,
            hint=FREE_SPACE,
        )
    shutil.copytree(downloaded, complete)
    return complete


def _record(handle: str, downloaded: Path, origin: Origin) -> SourceRecord:
    page = f"https://www.kaggle.com/datasets/{handle}"
    version = downloaded.name if downloaded.parent.name == "versions" and "/versions/" not in handle else ""
    return SourceRecord(
        source=f"kaggle {handle}",
        key=f"kaggle:{handle}",
        date=today(),
        licence="see its page",
        home=page,
        origins=(replace(origin, url=f"{page}/versions/{version}" if version else page),),
    )


@dataclass(frozen=True)
class Credential:
    """Where kagglehub will find the user's credential; its secret is never read here.

    Args:
        where: name of the variable or the file.
        path: the file, if it is one.
    """

    where: str
    path: Path | None = None

    @property
    def is_open(self) -> bool:
        """Whether others on this machine can read the file."""
        if self.path is None or os.name == "nt":  # Windows has no such permission bits
            return False
        return bool(self.path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def find_credential() -> Credential | None:
    """The first credential in kagglehub's own order of search, found without reading any secret; None without one."""
    home = expanded("~/.kaggle", kind=DataError)
    token = os.environ.get("KAGGLE_API_TOKEN", "")
    if token:  # a token, or the path of a file with one
        path = Path(token) if len(token) < 1000 and Path(token).is_file() else None
        return Credential("KAGGLE_API_TOKEN", path)
    for path in (home / "access_token", home / "access_token.txt"):
        if path.is_file():
            return Credential(str(path), path)
    if os.environ.get("KAGGLE_USERNAME") and os.environ.get("KAGGLE_KEY"):
        return Credential("KAGGLE_USERNAME and KAGGLE_KEY")
    path = Path(os.environ.get("KAGGLE_CONFIG_DIR") or home) / "kaggle.json"
    return Credential(str(path), path) if path.is_file() else None
