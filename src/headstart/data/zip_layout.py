"""Whether a zip's directory and its entries agree, so that no file in it is left out: zipfile trusts the directory.

Source: APPNOTE.TXT 6.3.10, .ZIP File Format Specification, sections 4.3.7, 4.3.12, 4.3.15 and 4.3.16.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO
from zipfile import BadZipFile, ZipInfo

_ENTRY, _IN_DIRECTORY, _END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_END_64, _LOCATOR_64 = b"PK\x06\x06", b"PK\x06\x07"
_LONGEST_END = 22 + 65_535  # bytes: the comment of an archive is at most 65,535 long
_BLOCK = 1 << 20
_ENCRYPTED = 1  # bit of the flags
_ELSEWHERE = (0, 0xFFFFFFFF)  # a checksum or size that stands behind the content, or in the 64-bit field


@dataclass(frozen=True)
class Directory:
    """Where the list of entries stands in a zip, and how many it has.

    Args:
        start, end: in bytes from the beginning of the file.
    """

    start: int
    end: int
    entries: int


def read_directory(file: IO[bytes], most: int) -> Directory:
    """Find the list of entries and count it, entry by entry, without keeping any; it stops above `most`.

    Raises:
        BadZipFile: there is none, it is damaged, or its end states another number of entries.
    """
    size = file.seek(0, 2)
    before = max(0, size - _LONGEST_END)
    file.seek(before)
    tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < 22:
        raise BadZipFile("no end of a zip")
    stated, length = struct.unpack("<HI", tail[at + 10 : at + 16])
    end = before + at
    if at >= 76 and tail[at - 20 : at - 16] == _LOCATOR_64 and tail[at - 76 : at - 72] == _END_64:
        stated, length = struct.unpack("<QQ", tail[at - 44 : at - 28])
        end -= 76
    if length > end:
        raise BadZipFile("a list of entries that is longer than the file")
    entries = _count(file, end - length, end=end, most=most)
    # without the 64-bit record, some programs state more than 65,535 entries modulo 65,536
    if entries <= most and entries not in (stated, stated + (entries & ~0xFFFF)):
        raise BadZipFile(f"{entries:,} entries, where its end states {stated:,}")
    return Directory(end - length, end, entries)


def _count(file: IO[bytes], start: int, *, end: int, most: int) -> int:
    place, entries = start, 0
    while place < end and entries <= most:
        file.seek(place)
        header = file.read(46)
        if len(header) < 46 or header[:4] != _IN_DIRECTORY:
            raise BadZipFile("a damaged list of entries")
        place += 46 + sum(struct.unpack("<HHH", header[28:34]))
        entries += 1
    return entries


def check_entries(file: IO[bytes], entries: Iterable[ZipInfo], directory: Directory) -> None:
    """Check that the entries lie one behind the other, and that there is none between them that the directory lacks.

    Raises:
        BadZipFile: two overlap, one is not listed, or an entry's own header contradicts the directory.
    """
    behind, name = 0, "the beginning"
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        _check_gap(file, behind, entry.header_offset, where=f"between {name} and {entry.filename!r}")
        behind, name = _end_of(file, entry), repr(entry.filename)
    _check_gap(file, behind, directory.start, where=f"behind {name}")


def _end_of(file: IO[bytes], entry: ZipInfo) -> int:
    """Where an entry ends, its checksum behind the content not counted."""
    name = entry.orig_filename
    file.seek(entry.header_offset)
    header = file.read(30)
    if len(header) < 30 or header[:4] != _ENTRY:
        raise BadZipFile(f"no header of {name!r}")
    flags, method = struct.unpack("<HH", header[6:10])
    own = zip(struct.unpack("<III", header[14:26]), (entry.CRC, entry.compress_size, entry.file_size), strict=True)
    is_another = any(value not in (stated, *_ELSEWHERE) for value, stated in own)
    if (flags ^ entry.flag_bits) & _ENCRYPTED or method != entry.compress_type or is_another or "\0" in name:
        raise BadZipFile(f"a header of {name!r} that contradicts the list of entries")
    names: int = sum(struct.unpack("<HH", header[26:30]))
    return entry.header_offset + 30 + names + entry.compress_size


def _check_gap(file: IO[bytes], start: int, end: int, *, where: str) -> None:
    """Bytes of no entry: the checksum behind the content, padding, a program that unpacks; but never a file."""
    if start > end:
        raise BadZipFile(f"entries that overlap {where}")
    place, kept = start, b""
    while place < end:
        file.seek(place)
        block = file.read(min(_BLOCK, end - place))
        if not block:
            raise BadZipFile("an entry behind the end of the file")
        if _ENTRY in kept + block:
            raise BadZipFile(f"a file that its directory does not list, {where}")
        place, kept = place + len(block), block[-3:]
