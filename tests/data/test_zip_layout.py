"""The layout of zips: whole ones of several writers pass; a file that the list of entries lacks never does."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import pytest

from headstart.data.zip_layout import check_entries, read_directory


def make(*names: str, streamed: bool = False, large: bool = False, comment: bytes = b"") -> bytes:
    """A zip of these names; streamed: written without seeking back, so that sizes stand behind the content."""
    buffer = io.BytesIO()
    if streamed:
        buffer.seekable = lambda: False  # type: ignore[method-assign]
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.comment = comment
        for number, name in enumerate(names):
            with archive.open(name, "w", force_zip64=large) as file:
                file.write(name.encode() * 100 * number)
    return buffer.getvalue()


def check(content: bytes) -> int:
    file = io.BytesIO(content)
    directory = read_directory(file, 100)
    with zipfile.ZipFile(file) as archive:
        check_entries(file, archive.infolist(), directory)
    return directory.entries


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("large", [False, True])
def test_whole_zips_pass(streamed: bool, large: bool) -> None:
    assert check(make("a", "b/c", "ä", streamed=streamed, large=large, comment=b"PK\5" * 9)) == 3
    assert check(b"a program that unpacks" + make("a")) == 1


def test_an_archive_that_states_64_bit_sizes_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)  # the writer's: above, it appends the 64-bit record
    content = make("a", "b", "c")
    assert b"PK\x06\x06" in content
    assert check(content) == 3


@pytest.mark.parametrize("position", [0, 1, 2])
def test_an_entry_that_the_directory_lacks_is_an_error(position: int) -> None:
    content = make("a", "b", "c")
    end = content.rindex(b"PK\5\6")
    starts = [content.index(b"PK\1\2")]
    while len(starts) < 3:
        starts.append(content.index(b"PK\1\2", starts[-1] + 1))
    starts.append(end)
    kept = content[: starts[position]] + content[starts[position + 1] : end]
    size = end - starts[0] - (starts[position + 1] - starts[position])
    ending = content[end : end + 8] + struct.pack("<HHI", 2, 2, size) + content[end + 16 :]

    with pytest.raises(zipfile.BadZipFile, match="does not list"):
        check(kept + ending)


def test_two_zips_one_behind_the_other_are_an_error() -> None:
    with pytest.raises(zipfile.BadZipFile, match="does not list"):
        check(make("a") + make("b"))


@pytest.mark.parametrize(
    ("offset", "value", "reason"),
    [(10, 9, "3 entries"), (12, 20, "damaged list"), (15, 255, "longer than the file")],
)
def test_an_end_that_states_something_else_is_an_error(offset: int, value: int, reason: str) -> None:
    content = bytearray(make("a", "b", "c"))
    content[content.rindex(b"PK\5\6") + offset] = value

    with pytest.raises(zipfile.BadZipFile, match=reason):
        check(bytes(content))


@pytest.mark.parametrize("offset", [8, 10, 16, 20, 24])  # flags, method, checksum, packed size, size
def test_a_header_that_contradicts_the_directory_is_an_error(offset: int) -> None:
    content = bytearray(make("a", "b", "c"))
    content[content.rindex(b"PK\1\2") + offset] ^= 1

    with pytest.raises(zipfile.BadZipFile, match=r"contradicts|damaged list"):
        check(bytes(content))


def test_entries_that_share_their_bytes_are_an_error() -> None:
    """As in a bomb whose entries overlap: a few megabytes become petabytes."""
    content = bytearray(make("a", "b"))
    start = content.rindex(b"PK\1\2") + 42
    content[start : start + 4] = bytes(4)

    with pytest.raises(zipfile.BadZipFile, match="overlap"):
        check(bytes(content))


def test_counting_stops_above_the_limit(tmp_path: Path) -> None:
    content = make(*map(str, range(60)))
    assert read_directory(io.BytesIO(content), 100).entries == 60
    assert read_directory(io.BytesIO(content), 10).entries == 11
