"""Unpack an untrusted zip or tar into a folder: nothing outside it, no links, bounded size and count, all or nothing.

Sizes are counted while writing, since an archive's own numbers can be false. A finished folder is named by the
archive's sha256, so that unpacking twice costs one hash.
"""

from __future__ import annotations

import contextlib
import errno
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
from headstart.data.decompression import BZIP2, GZIP, XZ, open_decompressed
from headstart.data.folder_scan import as_text
from headstart.data.folder_seal import add_seal, discard, is_as_written
from headstart.data.tar_header import WholeHeader
from headstart.data.zip_layout import check_entries, read_directory
from headstart.data.zip_names import entry_name
from headstart.download import FREE_SPACE
from headstart.errors import DataError, HeadstartError
from headstart.files import FOR_CACHE, os_errors, remove_if_abandoned, work_folder
from headstart.refusals import refusal
from headstart.untrusted import sha256_of

TOO_LARGE = "Unpack it yourself, or raise --max-gb of fetch, if you trust it."
_HEAD = 512  # bytes by which an archive is recognised
_BLOCK = 1 << 20  # bytes read and written at once
_HEADERS = 8 << 20  # bytes of one tar member's headers; a long-name header would otherwise be read whole into memory
_RATIO_FROM = 1_000_000_000  # bytes: a smaller result is never suspicious, drawings can shrink a thousandfold
_SPARE = 200_000_000  # bytes left free on the disk
_READABLE = "an archive that can be read and a folder that can be written"
_ZIP_END = 22 + 65535  # bytes in which the end record of a zip lies, with its comment
_HEADER = 512  # bytes of a header in a tar, and of the zeros that mark the end
_NO_NAME = ("a name for every entry", "a file without one", "Do not use this archive.")
_WANTED = "a complete zip or tar archive"
_OTHERS = {
    b"rar!": "a RAR archive",
    b"7z\xbc\xaf": "a 7-Zip archive",
    b"\x28\xb5\x2f\xfd": "a file packed by Zstandard",
    b"\x04\x22m\x18": "a file packed by LZ4",
    b"\x1f\x9d": "a file packed by compress",
    b"<!doctype": "a web page",
    b"<html": "a web page",
}
"""First bytes of a file, in lower case → what it is instead of an archive that headstart reads."""
_PAGE = "a web page"
_SUFFIXES = (".zip", ".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz")


class ArchiveError(DataError):
    """The bytes of an archive are at fault, so that another try should not find the same ones."""


def is_archive(path: Path) -> bool:
    """True when a file's suffix or first bytes are those of a zip or a tar (plain, gzip, bzip2 or xz).

    Also for archives of other kinds: whoever unpacks them says which they are.
    """
    head = _head(path)
    is_other = _other_kind(head) not in (None, _PAGE)
    return path.name.lower().endswith(_SUFFIXES) or begins_like_archive(head) or is_other


def _other_kind(head: bytes) -> str | None:
    return next((kind for magic, kind in _OTHERS.items() if head.lower().startswith(magic)), None)


def begins_like_archive(head: bytes) -> bool:
    """True when the first 512 bytes of a file are those of a zip or a tar."""
    return head.startswith(b"PK\x03\x04") or _is_tar(head)


def _head(path: Path) -> bytes:
    try:
        if not path.is_file():  # opening a pipe would wait for ever
            return b""
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError:  # whoever reads all of it reports the reason
        return b""


def _is_tar(head: bytes) -> bool:
    return head.startswith((GZIP, BZIP2, XZ)) or head[257:262] == b"ustar"


def unpack(
    archive: Path,
    into: Path,
    *,
    max_bytes: int = 20_000_000_000,
    max_files: int = 1_000_000,
    max_ratio: float = 200.0,
    kept: bool = False,
) -> Path:  # six: what is unpacked where, its bounds, and whether the folder is of the cache
    """Folder `into/<sha256 of the archive>` with the archive's files; made once, complete or not at all.

    Args:
        max_bytes: of all files together, unpacked.
        max_files: entries, folders included.
        max_ratio: unpacked bytes over the archive's, checked from 1 GB on.
        kept: in the cache, where a folder may have lost or got files since: such a one is made again.

    Raises:
        ArchiveError: not a zip or tar, damaged or truncated, encrypted, an entry that leaves the folder, is a link or
            device or is there twice. DataError: a limit is exceeded, or the disk refuses.
    """
    folder = _folder_of(archive, into)
    if is_as_written(folder) if kept else folder.is_dir():
        return folder
    if kept:
        discard(folder)
    where = as_text(str(archive))
    with os_errors(where, expected=_READABLE, kind=DataError), work_folder(folder, kind=DataError) as unfinished:
        most = int(min(max_bytes, max(_RATIO_FROM, max_ratio * archive.stat().st_size)))
        _unpack_all(_Target(archive, unfinished, max_bytes=most, max_files=max_files))
        if kept:
            add_seal(unfinished, folder)
        try:
            return unfinished.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster, with the same bytes
                raise
    return folder


def _folder_of(archive: Path, into: Path) -> Path:
    with os_errors(as_text(str(archive)), expected=_READABLE, kind=DataError):
        folder = into / sha256_of(archive)
    with os_errors(into, expected="a folder to unpack the archive into", hint=FOR_CACHE, kind=DataError):
        into.mkdir(parents=True, exist_ok=True)
        for hidden in into.glob(".*.part"):  # of other archives, whose unpacking was killed
            remove_if_abandoned(hidden)
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

    def error(self, expected: str, found: str, hint: str = "") -> ArchiveError:
        return ArchiveError(expected=expected, found=found, where=as_text(str(self.archive)), hint=hint)

    def no_room(self, expected: str, found: str, hint: str) -> DataError:
        return DataError(expected=expected, found=found, where=as_text(str(self.archive)), hint=hint)

    def count(self) -> None:
        self.entries += 1
        if self.entries > self.max_files:
            raise self.too_many()

    def too_many(self) -> DataError:
        return self.no_room(f"at most {self.max_files:,} files in the archive", "more", TOO_LARGE)

    def reserve(self, size: int) -> None:
        """Refuse what cannot fit, by the sizes that entries state; `write` counts the real ones."""
        if self.written + size > self.max_bytes:
            raise self.no_room(f"at most {self.max_bytes:,} bytes unpacked", "more", TOO_LARGE)
        if runtime.free_bytes(self.folder) < size + _SPARE:
            raise self.no_room(
                f"{(size + _SPARE) / 1e9:.1f} GB free on the disk of {self.folder.parents[1]}", "less", FREE_SPACE
            )

    def path(self, name: str) -> Path | None:
        """Path of an entry inside the folder, None for the folder itself."""
        # zips made on Windows use backslashes, and would hide `..` behind them
        steps = name.replace("\\", "/").split("/")
        if not name:
            raise self.error(*_NO_NAME)
        if steps[0] == "" or ".." in steps or re.match(r"[A-Za-z]:", steps[0]) or "\0" in name:
            raise self.error(
                "entries that stay inside the archive's folder", repr(as_text(name)), "Do not use this archive."
            )
        inside = [step for step in steps if step not in ("", ".")]
        return self.folder.joinpath(*inside) if inside else None

    def write(self, name: str, content: IO[bytes]) -> None:
        path = self.path(name)
        if path is None:
            raise self.error(*_NO_NAME)
        try:
            with self._short_names(name):
                path.parent.mkdir(parents=True, exist_ok=True)
                file = path.open("xb")
            with file:
                self._copy(content, file)
        except (FileExistsError, NotADirectoryError):
            raise self.error(
                "every entry once", f"{as_text(name)!r} twice (or as file and folder)", "Repack it."
            ) from None  # of the archive, not of the disk

    def _copy(self, content: IO[bytes], file: IO[bytes]) -> None:
        while block := content.read(_BLOCK):
            before = self.written
            self.written += len(block)
            if self.written > self.max_bytes or self.written >> 28 != before >> 28:
                self.reserve(0)  # every 256 MB: other programs fill the disk, too
            file.write(block)

    @contextlib.contextmanager
    def _short_names(self, name: str) -> Iterator[None]:
        """Refuse a name that is longer than the disk allows in other words than those of a lack of space."""
        try:
            yield
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            begin = as_text(name)[:40]
            raise self.error(
                "names that this disk can hold",
                f"'{begin}…', {len(name):,} characters",
                "Repack it with shorter names.",
            ) from None

    def make_folder(self, name: str) -> None:
        path = self.path(name)
        try:
            if path is not None:
                with self._short_names(name):
                    path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise self.error("every entry once", f"{as_text(name)!r} as file and folder", "Repack it.") from None


def _unpack_all(target: _Target) -> None:
    with target.archive.open("rb") as file:
        # a tar can end with a zip inside it, which `is_zipfile` accepts as a zip: the head decides
        is_zip = not _is_tar(file.read(_HEAD)) and zipfile.is_zipfile(file)
    try:
        (_unpack_zip if is_zip else _unpack_tar)(target)
        if not target.entries:  # zeros are a valid tar without entries
            raise EOFError("no entries")
    except HeadstartError:
        raise
    except Exception as error:
        if refused := refusal(error):
            raise refused from None  # what the system refuses is no damage of the archive
        # what the parsers raise for bytes that nobody intended has no end: IndexError, struct…
        raise _damaged(target, error) from error


def _damaged(target: _Target, error: Exception) -> DataError:
    head = _head(target.archive)
    kind = _other_kind(head) or _part_of_zip(target.archive) or _packed_file(target.archive, head)
    if kind or isinstance(error, NotImplementedError):  # of zipfile: a compression that it does not know
        hint = "Download it again." if kind == _PAGE else "Unpack it yourself."
        return target.error(_WANTED, kind or f"a zip that is packed otherwise ({error})", hint)
    found = f"one that is damaged, truncated or something else ({error or type(error).__name__})"
    return target.error(_WANTED, as_text(found), "Download or create it again.")


def _part_of_zip(archive: Path) -> str | None:
    """What a zip is that was split into several files; None for others.

    Source: PKWARE, .ZIP File Format Specification, 4.3.16 (the number of this disk).
    """
    with archive.open("rb") as file:
        file.seek(max(archive.stat().st_size - _ZIP_END, 0))
        end = file.read()
    place = end.rfind(b"PK\x05\x06")
    return "the last part of a split zip" if place >= 0 and end[place + 4 : place + 6] not in (b"\0\0", b"") else None


def _packed_file(archive: Path, head: bytes) -> str | None:
    """What a packed file is that holds no tar, such as a table; None for others, and where it cannot be unpacked."""
    if not head.startswith((GZIP, BZIP2, XZ)):
        return None
    try:
        with open_decompressed(archive) as file:
            inside = file.read(_HEAD)
    except Exception:  # damaged, which is what is said then
        return None
    return None if not inside.strip(b"\0") or _is_tar(inside) else "one packed file, and no tar"


def _unpack_zip(target: _Target) -> None:
    with target.archive.open("rb") as file:
        directory = read_directory(file, target.max_files)
        if directory.entries > target.max_files:  # before zipfile keeps them all
            raise target.too_many()
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            check_entries(file, entries, directory)
            target.reserve(sum(entry.file_size for entry in entries))
            for entry in entries:
                target.count()
                _unpack_entry(target, archive, entry)


def _unpack_entry(target: _Target, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    name = entry_name(entry)
    if entry.flag_bits & 0x1:
        raise target.error("an archive without a password", f"{as_text(name)!r} encrypted", "Unpack it yourself.")
    if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _link(target, name)
    if name.endswith(("/", "\\")):
        if entry.file_size:
            raise target.error("folders without content of their own", as_text(repr(name)), "Repack it.")
        target.make_folder(name)
        return
    with archive.open(entry) as content:
        target.write(name, content)


def _link(target: _Target, name: str) -> DataError:
    return target.error(
        "files and folders only", f"{as_text(name)!r}, a link, a device or a mark", "Repack it without these."
    )


class _Metered:
    """Bytes of a tar, decompressed: what is read between two files is bounded, and the last ones are kept."""

    def __init__(self, file: BufferedIOBase, target: _Target) -> None:
        self._file, self._target = file, target
        self.allowance = 0
        self._last = (b"", b"", b"")
        self._place = 0

    def read(self, size: int) -> bytes:
        block = self._file.read(size)
        self.allowance -= len(block)
        if self.allowance < 0:
            raise self._target.error("headers of a usual size", "one of many megabytes", "Do not use this archive.")
        self._place += len(block)
        self._last = (*self._last[1:], block) if block else self._last
        return block

    def check_end(self, start: int, last: tarfile.TarInfo | None) -> None:
        """Read to the end: from `start` on, where no header of a file could be read, there is nothing but zeros.

        Args:
            last: the last member before; zeros that begin in its content stand for the files behind it, too.

        Raises:
            EOFError: there is nothing, or something else, which readers of tar leave out without a word, or zeros in
                the place of files.
        """
        read = b"".join(self._last)  # tarfile reads a header in one block or two
        before, block = read[: len(read) - (self._place - start)], read[len(read) - (self._place - start) :]
        if len(block) < _HEADER:
            raise EOFError("no end-of-archive mark")
        if block[:_HEADER].strip(b"\0"):
            raise EOFError(f"a damaged header at byte {start:,}")
        self.allowance = self._target.max_bytes
        while block:  # the checksum of a compressed stream is checked at its end only
            if block.strip(b"\0"):
                raise EOFError(f"data after the end-of-archive mark at byte {start:,}")
            block = self.read(_BLOCK)
        record = tarfile.RECORDSIZE  # bytes: writers fill the last one with zeros
        is_longer = self._place > -(-(start + 2 * _HEADER) // record) * record
        if is_longer and last and last.isreg() and not before[-2 * _HEADER :].strip(b"\0"):
            raise EOFError(f"nothing but zeros from the middle of {as_text(repr(last.name))} on")


def _unpack_tar(target: _Target) -> None:
    with open_decompressed(target.archive) as file:
        metered = _Metered(file, target)
        metered.allowance = _HEADERS
        # as a stream: every byte passes once, in order, and can be counted
        with tarfile.open(fileobj=metered, mode="r|", tarinfo=WholeHeader) as archive:  # type: ignore[call-overload]
            member: tarfile.TarInfo | None = None
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
            end = archive.offset
        metered.check_end(end, member)


def _members(archive: tarfile.TarFile, metered: _Metered) -> Iterator[tarfile.TarInfo]:
    while True:
        metered.allowance = _HEADERS
        member = archive.next()
        if member is None:
            return
        yield member
        archive.members = []  # type: ignore[attr-defined]  # tarfile keeps them all, a million would fill memory
