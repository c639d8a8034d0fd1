"""A path for output that cannot work is refused before the work, with the reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from headstart.errors import ClassifierError, RunError
from headstart.output_paths import PAGES, writable_file, writable_folder

IMPOSSIBLE = [("a\0b", "NUL"), ("", "empty name"), ("n" * 300, "too long"), ("~nobody-of-this-name/x", "~nobody")]


@pytest.mark.parametrize(("name", "reason"), IMPOSSIBLE)
def test_names_that_nothing_can_have_are_refused(name: str, reason: str) -> None:
    for check in (writable_file, writable_folder):
        with pytest.raises(RunError, match=reason):
            check(name)


def test_a_file_needs_its_folder_unless_the_writer_makes_it(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such folder"):
        writable_file(tmp_path / "new" / "page.html")

    assert writable_file(tmp_path / "new" / "page.html", makes_parents=True) == tmp_path / "new" / "page.html"
    assert writable_file(tmp_path / "page.html") == tmp_path / "page.html"
    assert writable_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert list(tmp_path.iterdir()) == []  # nothing is made here


def test_a_folder_is_no_file_and_a_file_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(RunError, match="a folder"):
        writable_file(tmp_path)
    for wrong in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(RunError, match=r"a file|Not a directory"):
            writable_folder(wrong)
    with pytest.raises(RunError):
        writable_file(tmp_path / "file" / "page.html", makes_parents=True)
    with pytest.raises(RunError, match=r"the name of a \.onnx file"):  # where the verb makes a folder
        writable_folder(tmp_path / "model.onnx")
    assert writable_folder(tmp_path / "v1.2") == tmp_path / "v1.2"
    assert writable_folder(tmp_path / "file", is_new=True) == tmp_path / "file"  # file-2 will be made


def test_a_folder_that_is_read_only_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)  # root may write anywhere

    for attempt in (lambda: writable_file(tmp_path / "x"), lambda: writable_folder(tmp_path / "a" / "b")):
        with pytest.raises(RunError, match="Permission denied"):
            attempt()


def test_tensors_need_a_path_in_utf_8(tmp_path: Path) -> None:
    name = tmp_path / "photos-\udcff"

    assert writable_file(name) == name
    for attempt in (
        lambda: writable_file(name / "a", makes_parents=True, for_model=True),
        lambda: writable_folder(name, for_model=True),
    ):
        with pytest.raises(RunError, match="UTF-8") as refused:
            attempt()
        str(refused.value).encode()  # it can be printed


def test_a_device_is_a_file_and_the_home_is_found() -> None:
    assert writable_file("/dev/null") == Path("/dev/null")
    assert writable_folder("~/photos") == Path.home() / "photos"
    with pytest.raises(ClassifierError):
        writable_file("", kind=ClassifierError)


def test_a_read_only_file_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "table.csv"
    path.touch()
    monkeypatch.setattr(os, "access", lambda one, mode: Path(one) != path)  # root may write to any

    with pytest.raises(RunError, match="Permission denied"):
        writable_file(path)


def test_a_folder_is_not_made_beside_a_device_or_a_link_that_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone")

    with pytest.raises(RunError, match="a link that leads nowhere"):
        writable_folder(tmp_path / "link", is_new=True)
    with pytest.raises(RunError, match="a device or a pipe"):
        writable_folder(os.devnull, is_new=True)


def test_a_photograph_is_not_replaced_by_a_page(tmp_path: Path) -> None:
    for name in ("photo.jpg", "page.html"):
        (tmp_path / name).write_text("")

    assert writable_file(tmp_path / "page.html", replaces=PAGES) == tmp_path / "page.html"
    assert writable_file(tmp_path / "new.txt", replaces=PAGES) == tmp_path / "new.txt"
    with pytest.raises(RunError, match="a file of another kind, which stays"):
        writable_file(tmp_path / "photo.jpg", replaces=PAGES)
