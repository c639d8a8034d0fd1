"""Archives from the web → a folder of images: resumed, checked, safely unpacked, there whole or not at all.

source ─mirrors in order▶ archive ─unpack▶ files ─move▶ train/ test/ + source.json ─rename▶ folder
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from headstart.data.archive import TOO_LARGE, is_archive, unpack
from headstart.data.folder_scan import as_text
from headstart.data.source_record import Origin, SourceRecord
from headstart.datasets.sources import Archive, Source
from headstart.datasets.staging import Fetched, clear_staging, find_landed, land, staging_of, today
from headstart.download import NO_ROOM, Note, alone, download, file_matches
from headstart.errors import DataError, DownloadError

Progress = Callable[[str, int, int], None]
"""Called with the file's name, the bytes done and the bytes in all (0 where the server does not say)."""

MAX_BYTES = 20_000_000_000  # of an archive, and of its files; larger sets are for those who say so
_TRIES = 4  # of the only address; with mirrors two are enough, the next one is quicker than a long wait


def fetch_source(
    source: Source,
    folder: Path,
    *,
    progress: Progress | None = None,
    note: Note | None = None,
    max_bytes: int = MAX_BYTES,
    pause: float = 1.0,
) -> Fetched:
    """Fetch the archives of a data set and put them together in a folder; done already, nothing is done.

    What was fetched when it breaks off waits in a hidden folder beside the data set, and the next call goes on there.

    Args:
        max_bytes: of each archive, and of its files unpacked.
        pause: seconds before an address is tried a second time.

    Raises:
        DataError: the folder holds something else, no mirror gives the file, it is not what its hash says, or its
            content is refused (see `unpack`).
    """
    there = find_landed(folder, source.key, source.archives[0].sha256)
    if there:
        return there
    notes: list[str] = []

    def remark(text: str) -> None:
        notes.append(text)
        if note:
            note(text)

    with contextlib.suppress(OSError):  # staging_of says why
        folder.parent.mkdir(parents=True, exist_ok=True)
    with alone(folder.parent / f".{folder.name}.fetching.lock", remark):
        there = find_landed(folder, source.key, source.archives[0].sha256)
        if there:  # by the process that was waited for
            return there
        staging = staging_of(folder)
        try:
            files = [_bring(archive, staging, progress, remark, max_bytes, pause) for archive in source.archives]
            origins = [_place(file, url, archive, staging / "whole", max_bytes)
                       for (file, url), archive in zip(files, source.archives, strict=True)]  # fmt: skip
            record = SourceRecord(source.title, source.key, today(), source.licence, source.home, tuple(origins))
            landed = land(staging / "whole", folder, record)
        finally:
            clear_staging(staging)
    return replace(landed, notes=tuple(notes))


def _bring(
    archive: Archive, staging: Path, progress: Progress | None, remark: Note, max_bytes: int, pause: float
) -> tuple[Path, str]:
    """The archive on disk and the address that gave it."""
    # a name by content: a part that one mirror left is finished by the next
    target = staging / f"{_stem(archive)}.archive"
    if target.exists() and file_matches(target, archive.sha256):
        return target, archive.mirrors[0]
    failures = []
    for url in archive.mirrors:
        told = _for_file(progress, _file_name(url))
        tries = _TRIES if len(archive.mirrors) == 1 else 2
        try:
            download(
                url,
                target,
                sha256=archive.sha256,
                progress=told,
                largest=max_bytes,
                tries=tries,
                pause=pause,
                note=remark,
            )
        except DownloadError as error:
            if error.hint == NO_ROOM:  # another address does not help
                raise DataError(
                    expected=error.expected, found=error.found, where=error.where, hint=error.hint
                ) from None
            failures.append(error)
            if len(archive.mirrors) > 1:
                remark(f"{url}: {error.found}.")
        else:
            _warn_unchecked(archive, url, remark)
            return target, url
    raise _all_failed(archive, failures)


def _place(file: Path, url: str, archive: Archive, whole: Path, max_bytes: int) -> Origin:
    """Unpack an archive into its part of the whole."""
    _check_is_archive(file, url)
    try:
        unpacked = unpack(file, file.parent / "unpacked", max_bytes=max_bytes)
    except DataError as error:
        if error.hint not in (NO_ROOM, TOO_LARGE):
            file.unlink()  # another try must not find the same bytes
        raise DataError(expected=error.expected, found=error.found, where=url, hint=error.hint) from error
    wanted = unpacked / archive.inside if archive.inside else unpacked
    if not wanted.is_dir():
        raise DataError(expected=f"the folder {archive.inside} in the archive", found="none", where=url)
    target = whole / archive.part if archive.part else whole
    target.parent.mkdir(parents=True, exist_ok=True)
    wanted.rename(target)
    return Origin(urlsplit(url)._replace(query="").geturl(), unpacked.name, file.stat().st_size)


def _check_is_archive(file: Path, url: str) -> None:
    if is_archive(file):
        return
    with file.open("rb") as opened:
        head = opened.read(512)
    is_page = b"<html" in head.lower() or b"<!doctype" in head.lower()
    file.unlink()
    raise DataError(
        expected="a zip or tar archive",
        found="a web page" if is_page else f"{len(head)} bytes or more that begin with {as_text(str(head[:8]))}",
        where=url,
        hint="Give the address of the file itself; a page may want a login first." if is_page else "",
    )


def _for_file(progress: Progress | None, name: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress(name, done, total)


def _file_name(url: str) -> str:
    return as_text(Path(urlsplit(url).path).name) or "archive"


def _stem(archive: Archive) -> str:
    return archive.sha256[:16] or hashlib.sha256(archive.mirrors[0].encode()).hexdigest()[:16]


def _warn_unchecked(archive: Archive, url: str, remark: Note) -> None:
    if not archive.sha256 and url.lower().startswith("http:"):
        remark(f"{url} came over http without a hash: anyone on the way could have changed it. Give --sha256 HEX.")


def _all_failed(archive: Archive, failures: list[DownloadError]) -> DataError:
    if len(failures) == 1:
        (only,) = failures
        return DataError(expected=only.expected, found=only.found, where=only.where, hint=only.hint)
    found = "; ".join(f"{failure.where}: {failure.found}" for failure in failures)
    hint = "Try again later: what has arrived is kept. Or fetch one of them by another way and unpack it yourself."
    return DataError(expected=f"{_file_name(archive.mirrors[0])} from one of its mirrors", found=found, hint=hint)
