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
        ("a/2.JPG", ["a/2.jpg"]),
        ("A/1", ["a/1.png"]),
        ("X.TXT", []),
        ("", []),
    ],
)
def test_a_path_means_the_images_that_end_so(paths: TablePaths, written: str, meant: list[str]) -> None:
    found = paths.meant(paths.written(written))

    assert [path.relative_to(paths.folder).as_posix() for path in found] == meant
    assert paths.is_there(written) == (len(meant) == 1)


def test_capitals_count_where_both_are_there(tmp_path: Path) -> None:
    for name in ("a.png", "A.png"):
        (tmp_path / "sub").mkdir(exist_ok=True)
        (tmp_path / "sub" / name).write_bytes(b"image")
    paths = TablePaths(tmp_path)
    if len(list((tmp_path / "sub").iterdir())) < 2:
        pytest.skip("this disk does not tell capitals")

    assert paths.meant(tmp_path / "A.png") == (tmp_path / "sub/A.png",)
    assert len(paths.meant(tmp_path / "a.PNG")) == 2


@pytest.mark.parametrize(
    ("cells", "start"),
    [
        (["/content/drive/a/1.png", "/content/drive/b/1.png"], "/content/drive/"),
        (["C:\\Users\\me\\a\\1.png", "C:\\Users\\me\\gone.png"], "C:/Users/me/"),
        (["/kaggle/a/1.png", "/kaggle/a/2.jpg"], "/kaggle/"),  # all in one folder that is here, too
        (["/a/1.png", "/b/1.png"], "/"),
        (["/x/gone.png", "/x/lost.png"], ""),
        (["/x/a/1.png", "D:/x/a/1.png"], ""),
        (["a/1.png", "3"], ""),
        (["s3://set/a/1.png"], ""),
        (["/one/a/1.png", "/two/a/2.jpg"], ""),  # more than one start would have to go
    ],
)
def test_absolute_paths_of_another_machine_are_read_below_the_folder(
    paths: TablePaths, cells: list[str], start: str
) -> None:
    before = [paths.written(cell) for cell in cells]

    assert paths.drop_foreign_start(cells) == start
    if start:
        ends = [cell.replace("\\", "/").removeprefix(start) for cell in cells]
        assert [paths.written(cell) for cell in cells] == [paths.folder / end for end in ends]
    else:
        assert [paths.written(cell) for cell in cells] == before


def test_where_two_starts_lead_to_files_none_is_dropped(tmp_path: Path) -> None:
    for name in ("1.png", "a/1.png"):
        (tmp_path / "a").mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"image")
    paths = TablePaths(tmp_path)

    assert paths.drop_foreign_start(["/x/a/1.png"]) == ""
    assert paths.drop_foreign_start([f"{tmp_path}/a/1.png"]) == ""  # it is here
    assert paths.written(f"{tmp_path}/a/1.png") == tmp_path / "a/1.png"


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
