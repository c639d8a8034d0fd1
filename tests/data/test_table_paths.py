"""Paths of a table: as written, or the only image below that they can mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.data.table_paths import TablePaths, path_fault


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


def test_addresses_of_files_and_percent_signs_are_paths(tmp_path: Path) -> None:
    """A file whose name has a percent sign is itself."""
    for name in ("a b.png", "c%20d.png", "c d.png"):
        (tmp_path / name).write_bytes(b"image")
    paths = TablePaths(tmp_path)

    assert paths.written("a%20b.png") == tmp_path / "a b.png"
    assert paths.written("c%20d.png") == tmp_path / "c%20d.png"
    for address in (
        f"file://{tmp_path}/a%20b.png",
        f"file://localhost{tmp_path}/a%20b.png",
        f"FILE:{tmp_path}/a b.png",
    ):
        assert paths.written(address) == tmp_path / "a b.png"


@pytest.mark.parametrize(
    ("cell", "fault"),
    [
        ("a/1.png", None),
        ("", "no-path"),
        ("a", "not-a-file"),
        ("gone.png", "missing-file"),
        ("https://example.org/1.png", "address"),
        ("s3://set/1.png", "address"),
        ("C:\\data\\1.png", "missing-file"),
    ],
)
def test_why_a_cell_names_no_file(paths: TablePaths, cell: str, fault: str | None) -> None:
    assert path_fault(cell, paths.written(cell)) == fault
