"""Files around predictions: class names stay inside their folder, and only paths are taken for files."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.errors import DataError, RunError
from headstart.workbench.prediction_files import _folder_name, check_table, files_of


@pytest.mark.parametrize("label", ["../up", "/etc", "a/b", "..", "con:1", "x\ny", " "])
def test_a_class_name_never_leaves_the_folder(label: str, tmp_path: Path) -> None:
    name = _folder_name(label)

    assert (tmp_path / name).resolve().parent == tmp_path.resolve()
    assert name.isprintable()
    assert name


def test_files_keep_their_order_and_folders_become_their_images(photos: Path) -> None:
    one = sorted((photos / "stripes").iterdir())[3]

    assert files_of(one) == [one]
    assert files_of([str(one), photos / "disc"]) == [one, *sorted((photos / "disc").iterdir())]


@pytest.mark.parametrize("image", [b"bytes", "http://127.0.0.1/x.png", 3])
def test_what_is_no_path_is_refused(image: object) -> None:
    with pytest.raises(DataError, match="on this machine"):
        files_of([image])


def test_a_table_in_a_missing_folder_is_refused(tmp_path: Path) -> None:
    check_table(tmp_path / "t.csv")
    with pytest.raises(RunError, match="no such folder"):
        check_table(tmp_path / "nowhere" / "t.csv")
