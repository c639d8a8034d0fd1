"""A kept folder is used again only with the files that were written into it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from headstart.data.folder_seal import add_seal, discard, is_altered, is_as_written


def kept(folder: Path) -> Path:
    """A sealed folder with two files, one of them a folder down."""
    target = folder / "kept"
    (target / "cat").mkdir(parents=True)
    (target / "cat" / "1.jpg").write_bytes(b"one")
    (target / "table.csv").write_text("path,label\n")
    add_seal(target, target)
    return target


def test_a_folder_is_as_written_also_when_it_was_copied_with_its_times(tmp_path: Path) -> None:
    target = kept(tmp_path)
    assert is_as_written(target)
    assert not is_altered(target)
    other = tmp_path / "other"
    other.mkdir()
    shutil.copytree(target, other / "kept")
    shutil.copy2(tmp_path / "kept.seal", other / "kept.seal")
    assert is_as_written(other / "kept")


ALTERED: dict[str, Callable[[Path], object]] = {
    "removed": lambda folder: (folder / "cat" / "1.jpg").unlink(),
    "emptied": lambda folder: (folder / "cat" / "1.jpg").write_bytes(b""),
    "of another time": lambda folder: os.utime(folder / "cat" / "1.jpg", (1, 1)),
    "added": lambda folder: (folder / "cat" / "2.jpg").write_bytes(b"two"),
    "renamed": lambda folder: (folder / "cat").rename(folder / "dog"),
    "an empty class": lambda folder: (folder / "dog").mkdir(),
    "without all": shutil.rmtree,
}


@pytest.mark.parametrize("how", ALTERED)
def test_an_altered_folder_is_not_as_written(tmp_path: Path, how: str) -> None:
    target = kept(tmp_path)
    ALTERED[how](target)
    assert not is_as_written(target)
    assert is_altered(target)
    discard(target)
    assert not target.exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes")
def test_a_seal_that_is_lost_damaged_or_a_pipe_seals_nothing(tmp_path: Path) -> None:
    target = kept(tmp_path)
    seal = tmp_path / "kept.seal"
    seal.write_bytes(b"\xff\x00")
    assert not is_as_written(target)
    seal.unlink()
    assert not is_as_written(target)
    assert not is_altered(target)  # of an older version
    os.mkfifo(seal)
    assert not is_as_written(target)
    discard(target)
    assert not seal.exists()  # so that a new one can be written
