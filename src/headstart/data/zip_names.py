"""The name of a zip's entry in the encoding that it was written in, and names whose encoding nobody states."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from headstart.data.finding import FEW_NAMES
from headstart.wording import counted, listed

_UTF8 = 0x800  # flag of an entry whose name is in UTF-8
_PATH_FIELD = 0x7075  # extra field with the name in UTF-8, as WinRAR and Info-ZIP add it


def entry_name(entry: zipfile.ZipInfo) -> str:
    """An entry's name: in UTF-8 also where only an extra field states it, or nothing, as in zips of macOS."""
    if entry.flag_bits & _UTF8:
        return entry.filename
    raw = entry.orig_filename.encode("cp437")  # as zipfile decoded it
    try:
        return (_stated(entry.extra, raw) or raw).decode("utf-8")
    except UnicodeError:
        return entry.orig_filename


def doubtful_names(archive: Path) -> list[str]:
    """Names as they are unpacked that may have other letters: not ASCII, and written in an encoding that is not stated.

    Windows writes them in the encoding of its language (Shift-JIS, GBK, cp866 …); they are read in cp437, the standard.
    """
    if not zipfile.is_zipfile(archive):
        return []
    with zipfile.ZipFile(archive) as opened:
        entries = opened.infolist()
    return [
        entry.orig_filename
        for entry in entries
        if not entry.flag_bits & _UTF8 and not entry_name(entry).isascii() and entry_name(entry) == entry.orig_filename
    ]


def say_doubt(names: Sequence[str]) -> str:
    """The sentence about names in doubt, for a person."""
    return (
        f"The zip does not state the encoding of {counted(len(names), 'name')}, read as {listed(names, FEW_NAMES)}. If "
        "they are meant to have other letters, pack the folder again with UTF-8 names, or unpack it yourself."
    )


def _stated(extra: bytes, raw: bytes) -> bytes | None:
    """The name in the extra field, where that is of this very name: a program may have renamed the entry since."""
    while len(extra) >= 4:
        kind, length = struct.unpack("<HH", extra[:4])
        field, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == _PATH_FIELD and len(field) > 5 and struct.unpack("<BI", field[:5]) == (1, zlib.crc32(raw)):
            return field[5:]
    return None
