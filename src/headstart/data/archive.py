"""Unpack an untrusted zip or tar into a folder: nothing outside it, no links, bounded size and count, all or nothing.

Sizes are counted while writing, since an archive's own numbers can be false. A finished folder is named by the
archive's sha256, so that unpacking twice costs one hash.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import re
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import IO

from headstart import runtime
from headstart.data.folder_scan import as_text
from headstart.download import DISK_FULL, sha256_of
from headstart.errors import DataError, HeadstartError
from headstart.files import is_abandoned, os_errors, remove, work_folder

TOO_LARGE = "Unpack it yourself, or raise --max-gb of fetch, if you trust it."
_BLOCK = 1 << 20  # bytes read and written at once
_HEADERS = 8 << 20  # bytes of one tar member's headers; a long-name header would otherwise be read whole into memory
_RATIO_FROM = 1_000_000_000  # bytes: a smaller result is never suspicious, drawings can shrink a thousandfold
_SPARE = 200_000_000  # bytes left free on the disk
_READABLE = "an archive that can be read and a folder that can be written"
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")  # gzip, bzip2, xz
_SUFFIXES = (".zip", ".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz")


def is_archive(path: Path) -> bool:
    """True when a file's suffix or first bytes are those of a zip or a tar (plain, gzip, bzip2 or xz)."""
    return path.name.lower().endswith(_SUFFIXES) or _head(path).startswith(b"PK\x03\x04") or _is_tar(_head(path))


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(512)
    except OSError:  # whoever reads all of it reports the reason
        return b""


def _is_tar(head: bytes) -> bool:
    return head.startswith(_COMPRESSED) or head[257:262] == b"ustar"


def unpack(
    archive: Path,
    into: Path,
    *,
    max_bytes: int = 20_000_000_000,
    max_files: int = 1_000_000,
    max_ratio: float = 200.0,
) -> Path:
    """Folder `into/<sha256 of the archive>` with the archive's files; made once, complete or not at all.

    Args:
        max_bytes: of all files together, unpacked.
        max_files: entries, folders included.
        max_ratio: unpacked bytes over the archive's, checked from 1 GB on.

    Raises:
        DataError: not a zip or tar, damaged or truncated, encrypted, an entry that leaves the folder, is a link or
            device or is there twice, a limit is exceeded, or the disk is too full.
    """
    folder = _folder_of(archive, into)
    if folder.is_dir():
        return folder
    where = as_text(str(archive))
    with os_errors(where, expected=_READABLE, kind=DataError), work_folder(folder, kind=DataError) as unfinished:
        most = int(min(max_bytes, max(_RATIO_FROM, max_ratio * archive.stat().st_size)))
        _unpack_all(_Target(archive, unfinished, max_bytes=most, max_files=max_files))
        try:
            return unfinished.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster, with the same bytes
                raise
    return folder


def _folder_of(archive: Path, into: Path) -> Path:
    with os_errors(as_text(str(archive)), expected=_READABLE, kind=DataError):
        folder = into / sha256_of(archive)
        into.mkdir(parents=True, exist_ok=True)
        for hidden in into.glob(".*.part"):  # of other archives, whose unpacking was killed
            if is_abandoned(hidden):
                remove(hidden)
    return folder


@dataclass
class _Target:
    """Where an archive is unpacked and how much is written so far: the only state while unpacking."""

    archive: Path
    folder: Path
    max_bytes: int
    max_files: int
    written: int = 0
    entries: int = 0

    def error(self, expected: str, found: str, hint: str = "") -> DataError:
        return DataError(expected=expected, found=found, where=as_text(str(self.archive)), hint=hint)

    def count(self) -> None:
        self.entries += 1
        if self.entries > self.max_files:
            raise self.error(f"at most {self.max_files:,} files in the archive", "more", TOO_LARGE)

    def reserve(self, size: int) -> None:
        """Refuse what cannot fit, by the sizes that entries state; `write` counts the real ones."""
        if self.written + size > self.max_bytes:
            raise self.error(f"at most {self.max_bytes:,} bytes unpacked", "more", TOO_LARGE)
        if runtime.free_bytes(self.folder) < size + _SPARE:
            raise self.error(f"{(size + _SPARE) / 1e9:.1f} GB free on the disk of {self.folder.parents[1]}", "less",
                             DISK_FULL)  # fmt: skip

    def path(self, name: str) -> Path | None:
        """Path of an entry inside the folder, None for the folder itself."""
        # zips made on Windows use backslashes, and would hide `..` behind them
        steps = name.replace("\\", "/").split("/")
        if steps[0] == "" or ".." in steps or re.match(r"[A-Za-z]:", steps[0]) or "\0" in name:
            raise self.error(
                "entries that stay inside the archive's folder", repr(as_text(name)), "Do not use this archive."
            )
        inside = [step for step in steps if step not in ("", ".")]
        return self.folder.joinpath(*inside) if inside else None

    def write(self, name: str, content: IO[bytes]) -> None:
        path = self.path(name)
        if path is None:
            raise self.error("a name for every entry", repr(as_text(name)))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                self._copy(content, file)
        except (FileExistsError, NotADirectoryError) as error:
            raise self.error(
                "every entry once", f"{as_text(name)!r} twice (or as file and folder)", "Repack it."
            ) from error

    def _copy(self, content: IO[bytes], file: IO[bytes]) -> None:
        while block := content.read(_BLOCK):
            before = self.written
            self.written += len(block)
            if self.written > self.max_bytes or self.written >> 28 != before >> 28:
                self.reserve(0)  # every 256 MB: other programs fill the disk, too
            file.write(block)

    def make_folder(self, name: str) -> None:
        path = self.path(name)
        try:
            if path is not None:
                path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise self.error("every entry once", f"{as_text(name)!r} as file and folder", "Repack it.") from error


def _unpack_all(target: _Target) -> None:
    # a tar can end with a zip inside it, which `is_zipfile` accepts as a zip: the head decides
    is_zip = not _is_tar(_head(target.archive)) and zipfile.is_zipfile(target.archive)
    try:
        (_unpack_zip if is_zip else _unpack_tar)(target)
        if not target.entries:  # zeros are a valid tar without entries
            raise EOFError("no entries")
    except HeadstartError:
        raise
    except OSError as error:
        if isinstance(error, gzip.BadGzipFile):
            raise _damaged(target, error) from error
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        found = "a full disk" if full else f"one that cannot be unpacked ({error})"
        raise target.error(
            "a complete zip or tar archive, and disk space for it", found, DISK_FULL if full else ""
        ) from error
    except Exception as error:  # what the parsers raise for bytes that nobody intended has no end: IndexError, struct…
        raise _damaged(target, error) from error


def _damaged(target: _Target, error: Exception) -> DataError:
    found = f"one that is damaged, truncated or something else ({error or type(error).__name__})"
    return target.error("a complete zip or tar archive", as_text(found), "Download or create it again.")


def _unpack_zip(target: _Target) -> None:
    with zipfile.ZipFile(target.archive) as archive:
        entries = archive.infolist()
        target.reserve(sum(entry.file_size for entry in entries))
        for entry in entries:
            target.count()
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if entry.flag_bits & 0x1:
                raise target.error(
                    "an archive without a password", f"{as_text(entry.filename)!r} encrypted", "Unpack it yourself."
                )
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _link(target, entry.filename)
            if entry.is_dir() or entry.filename.endswith("\\"):
                target.make_folder(entry.filename)
                continue
            with archive.open(entry) as content:
                target.write(entry.filename, content)


def _link(target: _Target, name: str) -> DataError:
    return target.error("files and folders only", f"{as_text(name)!r}, a link or a device", "Repack it without links.")


class _Metered:
    """Bytes of a tar, decompressed: what is read between two files is bounded, and the last bytes are kept."""

    def __init__(self, file: BufferedIOBase, target: _Target) -> None:
        self._file, self._target = file, target
        self.allowance = 0
        self.tail = b""

    def read(self, size: int) -> bytes:
        block = self._file.read(size)
        self.allowance -= len(block)
        if self.allowance < 0:
            raise self._target.error("headers of a usual size", "one of many megabytes", "Do not use this archive.")
        self.tail = (self.tail + block)[-512:]
        return block


def _unpack_tar(target: _Target) -> None:
    with _decompressed(target.archive) as file:
        metered = _Metered(file, target)
        metered.allowance = _HEADERS
        # as a stream: every byte passes once, in order, and can be counted
        with tarfile.open(fileobj=metered, mode="r|") as archive:  # type: ignore[call-overload]
            for member in _members(archive, metered):
                target.count()
                if member.isdir():
                    target.make_folder(member.name)
                    continue
                content = archive.extractfile(member) if member.isreg() else None
                if content is None:
                    raise _link(target, member.name)
                target.reserve(member.size)
                metered.allowance = target.max_bytes
                target.write(member.name, content)
        if metered.tail.strip(b"\0"):  # every complete tar ends with empty blocks
            raise EOFError("no end mark")
        metered.allowance = target.max_bytes
        while metered.read(_BLOCK):  # the checksum of a compressed stream is checked at its end only
            pass


def _decompressed(archive: Path) -> BufferedIOBase:
    head = _head(archive)
    if head.startswith(_COMPRESSED[0]):
        return gzip.open(archive, "rb")
    if head.startswith(_COMPRESSED[1]):
        return bz2.open(archive, "rb")
    return lzma.open(archive, "rb") if head.startswith(_COMPRESSED[2]) else archive.open("rb")


def _members(archive: tarfile.TarFile, metered: _Metered) -> Iterator[tarfile.TarInfo]:
    while True:
        metered.allowance = _HEADERS
        member = archive.next()
        if member is None:
            return
        yield member
        archive.members = []  # type: ignore[attr-defined]  # tarfile keeps them all, a million would fill memory
