"""Names in zips: in UTF-8 where anything states it, in doubt where nothing does."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path

import pytest

from headstart.data.image_set import scan
from headstart.data.zip_names import doubtful_names, entry_name
from laid_files import JPEG, find


def write(path: Path, *names: bytes, extra: bytes = b"") -> Path:
    """A zip whose names are these bytes, without the flag of UTF-8, as Windows and WinRAR write them."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            entry = zipfile.ZipInfo("x" * len(name))
            entry.extra = extra
            archive.writestr(entry, JPEG)
    content = path.read_bytes()
    for name in names:
        content = content.replace(b"x" * len(name), name, 1)
    directory = content.index(b"PK\1\2")
    for name in names:
        content = content[:directory] + content[directory:].replace(b"x" * len(name), name, 1)
    path.write_bytes(content)
    return path


def stated(name: str, raw: bytes, *, version: int = 1) -> bytes:
    """Info-ZIP's extra field 0x7075: version, checksum of the plain name, the name in UTF-8."""
    content = struct.pack("<BI", version, zlib.crc32(raw)) + name.encode()
    return b"\x01\x00\x02\x00ab" + struct.pack("<HH", 0x7075, len(content)) + content


def entries(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return [entry_name(entry) for entry in archive.infolist()]


def test_the_extra_field_states_the_name(tmp_path: Path) -> None:
    raw = "猫/1.jpg".encode("shift-jis")
    path = write(tmp_path / "a.zip", raw, extra=stated("猫/1.jpg", raw))

    assert entries(path) == ["猫/1.jpg"]
    assert doubtful_names(path) == []


@pytest.mark.parametrize("change", ["renamed", "version"])
def test_an_extra_field_of_another_name_states_nothing(tmp_path: Path, change: str) -> None:
    raw = "猫/1.jpg".encode("shift-jis")
    field = stated("犬/1.jpg", b"other" if change == "renamed" else raw, version=2 if change == "version" else 1)
    path = write(tmp_path / "a.zip", raw, extra=field)

    assert entries(path) == [raw.decode("cp437")]


def test_names_of_no_stated_encoding_are_a_finding(tmp_path: Path) -> None:
    raw = "猫/1.jpg".encode("shift-jis")
    path = write(tmp_path / "a.zip", raw, b"dog/22.jpg", "Käfer/333.jpg".encode())

    assert doubtful_names(path) == ["öL/1.jpg"]  # 猫 is 94 4C in Shift-JIS, which cp437 reads as öL
    (finding,) = find(scan(path, unpack_into=tmp_path / "into"), "zip-names")
    assert finding.severity == "warning"
    assert "encoding of 1 name, read as öL/1.jpg" in finding.message


def test_other_files_have_no_names_in_doubt(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(bytes(1024))

    assert doubtful_names(tmp_path / "a.tar") == []
    assert doubtful_names(write(tmp_path / "a.zip", b"dog/22.jpg")) == []
