"""Archives from the web → a folder of images: resumed, checked, safely unpacked, complete or not there at all.

source ─mirrors in order▶ archive ─unpack▶ files ─move▶ train/ test/ + source.json ─rename▶ folder
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from headstart.data.archive import ArchiveError, begins_like_archive, unpack
from headstart.data.folder_scan import as_text
from headstart.data.source_record import Origin, SourceRecord
from headstart.data.zip_names import doubtful_names, say_doubt
from headstart.datasets.sources import Archive, Source
from headstart.datasets.staging import Fetched, clear_staging, find_fetched, make_staging, publish, today
from headstart.download import DiskError, DownloadLimits, Note, download, file_matches, one_process
from headstart.errors import DataError, DownloadError
from headstart.progress import OnProgress

Progress = Callable[[str, int, int], None]
"""Called with the file's name, the bytes done and the bytes in all (0 where the server does not say)."""

MAX_BYTES = 20_000_000_000
"""Default limit of an archive, and of its files; larger data sets need `max_gb`."""
_IMAGE = ("a single image", "Give the address of an archive with a folder of images for each class.")
_NO_ARCHIVES = {  # first bytes in small letters → what it is, and what to do
    b"version https://git-lfs": ("a pointer of Git LFS", "Give the address that the download button of that page has."),
    b"pk\5\6": ("a zip without any file", "Give the address of an archive with images inside."),
    b"{": ("JSON, as servers answer", "Open the address in a browser and read what the server says."),
    b"\xff\xd8\xff": _IMAGE,
    b"\x89png": _IMAGE,
}
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
    """Download the archives of a data set and unpack them into a folder; if it is there already, nothing is done.

    After an interruption, finished and partial downloads stay in a hidden folder beside the data set, and the next call
    resumes there.

    Args:
        max_bytes: of each archive, and of its files unpacked.
        pause: seconds before an address is tried a second time.

    Raises:
        DataError: the folder holds something else, no mirror gives the file, its hash is wrong, or its content is
            refused (see `unpack`).
    """
    fetched = find_fetched(folder, source.key, source.archives[0].sha256)
    if fetched:
        return fetched
    job = _Fetch(progress=progress, note=note, max_bytes=max_bytes, pause=pause)
    with contextlib.suppress(OSError):  # make_staging reports the reason
        folder.parent.mkdir(parents=True, exist_ok=True)
    with one_process(folder.parent / f".{folder.name}.fetching.lock", job.remark):
        fetched = find_fetched(folder, source.key, source.archives[0].sha256)
        if fetched:  # by the process that was waited for
            return fetched
        staging = make_staging(folder)
        try:
            downloads = [job.download(archive, staging) for archive in source.archives]
            origins = [
                job.unpack(archive, file, url=url, complete=staging / "complete")
                for archive, (file, url) in zip(source.archives, downloads, strict=True)
            ]
            record = SourceRecord(
                source=source.title,
                key=source.key,
                date=today(),
                licence=source.licence,
                home=source.home,
                origins=tuple(origins),
            )
            fetched = publish(staging / "complete", folder, record)
        finally:
            clear_staging(staging)
    return replace(fetched, notes=tuple(job.notes))


@dataclass(frozen=True, kw_only=True)
class _Fetch:
    """One call of `fetch_source`: the event callback, the limits, and the notes so far."""

    progress: Progress | None
    note: Note | None
    max_bytes: int
    pause: float
    notes: list[str] = field(default_factory=list)

    def remark(self, text: str) -> None:
        """Keep a note, and tell it."""
        self.notes.append(text)
        if self.note:
            self.note(text)

    def download(self, archive: Archive, staging: Path) -> tuple[Path, str]:
        """The archive's file on disk, and the address that gave it."""
        # a name by content: a partial file of one mirror is completed from the next
        target = staging / f"{_stem(archive)}.archive"
        if target.exists() and file_matches(target, archive.sha256):
            return target, archive.mirrors[0]
        tries = _TRIES if len(archive.mirrors) == 1 else 2
        limits = DownloadLimits(most_bytes=self.max_bytes, tries=tries, pause=self.pause)
        failures = []
        for url in archive.mirrors:
            progress = self._progress_of(url)
            try:
                download(url, target, sha256=archive.sha256, progress=progress, note=self.remark, limits=limits)
            except DiskError as error:  # another address does not help
                raise _as_data_error(error) from error
            except DownloadError as error:
                failures.append(error)
                if len(archive.mirrors) > 1:
                    self.remark(f"{url}: {error.found}.")
            else:
                if not archive.sha256 and url.lower().startswith("http:"):
                    self.remark(
                        f"{url} came over http without a hash: it may have been changed on the way. Give --sha256 HEX."
                    )
                return target, url
        raise _all_failed(archive, failures)

    def unpack(self, archive: Archive, file: Path, *, url: str, complete: Path) -> Origin:
        """Unpack an archive into its folder of the data set."""
        _check_is_archive(file, url)
        try:
            unpacked = unpack(file, file.parent / "unpacked", max_bytes=self.max_bytes)
        except DataError as error:
            if isinstance(error, ArchiveError):
                file.unlink()
            raise DataError(expected=error.expected, found=error.found, where=url, hint=error.hint) from error
        if names := doubtful_names(file):
            self.remark(say_doubt(names))
        wanted = unpacked / archive.inside if archive.inside else unpacked
        if not wanted.is_dir():
            raise DataError(expected=f"the folder {archive.inside} in the archive", found="none", where=url)
        target = complete / archive.folder if archive.folder else complete
        target.parent.mkdir(parents=True, exist_ok=True)
        wanted.rename(target)
        return Origin(urlsplit(url)._replace(query="").geturl(), unpacked.name, file.stat().st_size)

    def _progress_of(self, url: str) -> OnProgress | None:
        progress, name = self.progress, _file_name(url)
        return None if progress is None else lambda done, total: progress(name, done, total)


def _check_is_archive(file: Path, url: str) -> None:
    with file.open("rb") as opened:
        head = opened.read(512)
    if begins_like_archive(head):
        return
    size = file.stat().st_size
    file.unlink()
    found, hint = _no_archive(head, size)
    raise DataError(expected="a zip or tar archive", found=found, where=url, hint=hint)


def _no_archive(head: bytes, size: int) -> tuple[str, str]:
    """What a downloaded file is that does not begin as an archive, and what to do."""
    text = head.lstrip().lower()
    if b"<html" in text or b"<!doctype" in text:
        return "a web page", "Give the address of the file itself; the page may require a login first."
    known = next((said for start, said in _NO_ARCHIVES.items() if text.startswith(start)), None)
    if known:
        return known
    found = f"{size:,} bytes that begin with {as_text(str(head[:8]))}" if size else "an empty file"
    return found, "Give the address of the file itself, or try again later."


def _file_name(url: str) -> str:
    return as_text(Path(urlsplit(url).path).name) or "archive"


def _stem(archive: Archive) -> str:
    return archive.sha256[:16] or hashlib.sha256(archive.mirrors[0].encode()).hexdigest()[:16]


def _as_data_error(error: DownloadError) -> DataError:
    return DataError(expected=error.expected, found=error.found, where=error.where, hint=error.hint)


def _all_failed(archive: Archive, failures: list[DownloadError]) -> DataError:
    if len(failures) == 1:
        return _as_data_error(failures[0])
    found = "; ".join(f"{failure.where}: {failure.found}" for failure in failures)
    hint = "Try again later: partial downloads are kept. Or download one of them yourself and unpack it."
    return DataError(expected=f"{_file_name(archive.mirrors[0])} from one of its mirrors", found=found, hint=hint)
