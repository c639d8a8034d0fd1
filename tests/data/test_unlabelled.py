"""A folder of images without a class: no class of a scan, whatever else reads it finds its images."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from headstart.data.image_set import scan, scan_unlabelled
from headstart.data.unlabelled import MARK, UNLABELLED, is_unlabelled, mark_unlabelled
from headstart.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("ants/a.png", "bees/b.png", f"{UNLABELLED}/c.png", f"{UNLABELLED}/more/d.png"):
        (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "p" / name).write_bytes(b"an image, by its suffix")
    mark_unlabelled(tmp_path / "p" / UNLABELLED)
    return tmp_path / "p"


def test_a_marked_folder_is_no_class_and_its_images_are_named_once(folder: Path) -> None:
    found = scan(folder)

    assert found.classes == ("ants", "bees")
    assert [sample.name for sample in found.samples] == ["ants/a.png", "bees/b.png"]
    (finding,) = found.findings
    assert finding.severity == "note"
    assert finding.names == (f"{UNLABELLED}/c.png", f"{UNLABELLED}/more/d.png")


def test_without_the_mark_it_is_a_class(folder: Path) -> None:
    assert is_unlabelled(folder / UNLABELLED)
    (folder / UNLABELLED / MARK).unlink()

    assert scan(folder).classes == ("ants", "bees", UNLABELLED)


def test_what_needs_no_labels_reads_it(folder: Path) -> None:
    inside = [folder / UNLABELLED / "c.png", folder / UNLABELLED / "more" / "d.png"]
    assert scan_unlabelled([folder / UNLABELLED]) == inside
    assert scan_unlabelled([folder])[2:] == inside


def test_it_does_not_hide_a_wrapper_or_a_split_and_alone_it_is_no_data_set(folder: Path) -> None:
    for name in ("ants", "bees"):
        (folder / "photos").mkdir(exist_ok=True)
        (folder / name).rename(folder / "photos" / name)
    assert scan(folder).classes == ("ants", "bees")
    (folder / "photos").rename(folder / "train")
    assert {(sample.label, sample.split) for sample in scan(folder).samples} == {("ants", "train"), ("bees", "train")}
    shutil.rmtree(folder / "train")
    with pytest.raises(DataError, match="without a class"):
        scan(folder)


def test_a_mark_is_written_once(folder: Path) -> None:
    (folder / UNLABELLED / MARK).write_text("mine", encoding="utf-8")
    mark_unlabelled(folder / UNLABELLED)
    assert (folder / UNLABELLED / MARK).read_text(encoding="utf-8") == "mine"
