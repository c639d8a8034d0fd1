"""Paths of a table: as written, or the only image below that they can mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.data.table_paths import TablePaths


@pytest.fixture
def paths(tmp_path: Path) -> TablePaths:
    for name in ("a/1.png", "b/1.png", "a/2.jpg", "b/v1.5.png", "3", "a/x.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"text" if name == "a/x.txt" else b"\x89PNG\r\n\x1a\n")
    return TablePaths(tmp_path)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2", ["a/2.jpg"]),
        ("2.jpg", ["a/2.jpg"]),
        ("a/2", ["a/2.jpg"]),
        ("1", ["a/1.png", "b/1.png"]),
        ("a/1", ["a/1.png"]),
        ("v1.5", ["b/v1.5.png"]),
        ("b/v1", []),
        ("2.png", []),
        ("x", []),
        ("c/2", []),
        ("../2", []),
        ("", []),
    ],
)
def test_a_path_means_the_images_that_end_so(paths: TablePaths, written: str, meant: list[str]) -> None:
    found = paths.meant(paths.written(written))

    assert [path.relative_to(paths.folder).as_posix() for path in found] == meant
    assert paths.is_there(written) == (len(meant) == 1)


def test_a_file_that_is_there_needs_no_search(paths: TablePaths) -> None:
    assert paths.is_there("a/1.png")
    assert paths.is_there("a\\1.png")
    assert not paths.is_there("a")
