"""Long names in tars: both forms are read as tarfile reads them, and a damaged one is an error."""

from __future__ import annotations

import io
import tarfile

import pytest

from headstart.data.tar_header import WholeHeader

LONG = "Käfer/" + "long-" * 40 + ".png"
FORMATS = [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def make(format_: int, name: str = LONG, **facts: object) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format_) as archive:
        member = tarfile.TarInfo(name)
        for key, value in facts.items():
            setattr(member, key, value)
        archive.addfile(member)
    return buffer.getvalue()


def names(content: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(content), mode="r|", tarinfo=WholeHeader) as archive:
        return [member.name for member in archive]


@pytest.mark.parametrize("format_", FORMATS)
def test_whole_names_are_read(format_: int) -> None:
    assert names(make(format_)) == [LONG]
    assert names(make(format_, "short")) == ["short"]
    assert names(make(format_, type=tarfile.SYMTYPE, linkname="to/" * 80)) == [LONG]


def test_records_of_any_kind_are_read() -> None:
    records = {"SCHILY.xattr.user.note": "zero \0 inside", "mtime": "1.5", "comment": "a=b\nc"}
    assert names(make(tarfile.PAX_FORMAT, pax_headers=records)) == [LONG]


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("place", [0, 100, 200])
def test_a_name_with_zeros_inside_is_an_error(format_: int, place: int) -> None:
    content = bytearray(make(format_))
    start = content.index("Käfer/long-".encode()) + place
    content[start : start + 16] = bytes(16)

    with pytest.raises(tarfile.ReadError, match="damaged"):
        names(bytes(content))


def test_records_that_do_not_fill_their_header_are_an_error() -> None:
    content = make(tarfile.PAX_FORMAT)
    place = content.index(b" path=")
    for change in (b"99 path=", b"x1 path=", b"21_path="):
        with pytest.raises(tarfile.ReadError, match="damaged"):
            names(content[: place - 2] + change + content[place + 6 :])
