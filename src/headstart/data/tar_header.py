"""Headers of a tar whose long names are whole: tarfile takes what is left of a damaged one, which is another name.

Source: POSIX.1-2017, pax, "pax Extended Header"; GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from typing import Any

_LONG_NAME = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_PAX = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
_NAMES = (b"path", b"linkpath")


class WholeHeader(tarfile.TarInfo):
    """A member's header. A long name before it, in the form of GNU or of POSIX, must be whole.

    Raises:
        ReadError: while an archive is read: it is not.
    """

    def _proc_member(self, archive: Any) -> tarfile.TarInfo:  # tarfile's hook for subclasses
        check = _check_long_name if self.type in _LONG_NAME else _check_pax if self.type in _PAX else None
        if check is None:
            return super()._proc_member(archive)  # type: ignore[misc, no-any-return]
        stream = archive.fileobj
        archive.fileobj = _FirstRead(stream, lambda block: check(block[: self.size], self.size))
        try:
            return super()._proc_member(archive)  # type: ignore[misc, no-any-return]
        finally:
            archive.fileobj = stream


class _FirstRead:
    """A stream whose first block read is checked."""

    def __init__(self, stream: Any, check: Callable[[bytes], None]) -> None:
        self._stream, self._check = stream, check
        self._is_checked = False

    def read(self, size: int) -> bytes:
        block: bytes = self._stream.read(size)
        if not self._is_checked:
            self._is_checked = True
            self._check(block)
        return block

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _check_long_name(content: bytes, size: int) -> None:
    """Check a name that ends with one zero."""
    name = content.rstrip(b"\0")
    if not name or len(name) < size - 1 or b"\0" in name:
        raise tarfile.ReadError("a damaged long name")


def _check_pax(content: bytes, size: int) -> None:
    """Check records `length key=value\\n` that fill the header."""
    place = 0
    while place < size:
        digits, _, _ = content[place : place + 20].partition(b" ")
        length = int(digits) if digits.isdigit() else 0
        record = content[place : place + length]
        key, equals, value = record[len(digits) + 1 :].partition(b"=")
        is_whole = len(record) == length and length > len(digits) and equals and record.endswith(b"\n")
        if not is_whole or (key in _NAMES and b"\0" in value):
            raise tarfile.ReadError("a damaged extended header")
        place += length
