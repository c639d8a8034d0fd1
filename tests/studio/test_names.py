"""A class name becomes one folder inside the folder, or is refused; a file's name keeps harmless characters alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.errors import DataError
from headstart.studio.names import class_name, file_stem

ODD = ["", "  ", ".", "..", "../up", "a/b", "a\\b", "C:", "nul", "COM1.txt", ".hidden", "_private", "x\0y", "x\ny",
       "a" * 81, "train", "Test", "validation", "runs", "tail.", "what?", "\u202egnp", 3, None, ["a"]]  # fmt: skip


@pytest.mark.parametrize("text", ODD)
def test_what_cannot_be_a_folder_is_refused(text: object) -> None:
    with pytest.raises(DataError, match="for a class"):
        class_name(text)


@pytest.mark.parametrize(("text", "name"), [("cat", "cat"), (" Größe ", "Größe"), ("u\u0308", "ü"), ("猫 2", "猫 2")])
def test_other_names_stay(tmp_path: Path, text: str, name: str) -> None:
    assert class_name(text) == name
    (tmp_path / "in" / name).mkdir(parents=True)
    assert [path.name for path in (tmp_path / "in").iterdir()] == [name]


@pytest.mark.parametrize(
    ("text", "stem"),
    [("IMG_1.jpg", "IMG_1"), ("../../etc/passwd", "passwd"), ("..\\..\\x.png", "x"), ("a b(1).png", "a-b-1"), 
     ("..", "image"), ("", "image"), ("paper01-007.jpg", "paper01-007"), ("\0.png", "image"), ("x" * 300, "x" * 80)],
)  # fmt: skip
def test_a_file_gets_a_safe_name(text: str, stem: str) -> None:
    assert file_stem(text) == stem
