"""A data set folder appears complete or not at all, and never over something else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from headstart.data.source_record import Origin, SourceRecord, read_record, write_record
from headstart.datasets.staging import clear_staging, find_fetched, make_staging, publish
from headstart.errors import DataError

RECORD = SourceRecord(
    source="photos", key="url:1", date="2026-01-31", licence="", home="", origins=(Origin("u", "ab" * 32, 1),)
)


def assembled(folder: Path) -> Path:
    """A complete data set in the staging folder."""
    complete = make_staging(folder) / "complete"
    (complete / "cat").mkdir(parents=True)
    (complete / "cat" / "1.png").write_bytes(b"1")
    return complete


def test_a_complete_folder_gets_its_name_with_its_record(tmp_path: Path) -> None:
    folder = tmp_path / "photos"

    fetched = publish(assembled(folder), folder, RECORD)

    assert fetched.is_new
    assert sorted(path.name for path in folder.iterdir()) == ["cat", "source.json"]
    assert read_record(folder) == fetched.record == replace(RECORD, files=1)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]
    assert fetched.to_dict()["source"] == "photos"
    assert "key" not in fetched.to_dict()


def test_a_folder_filled_meanwhile_is_used_if_it_is_the_same_data_set(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    complete = assembled(folder)
    folder.mkdir()
    write_record(folder, RECORD)

    assert not publish(complete, folder, RECORD).is_new
    with pytest.raises(DataError, match="one with photos"):
        publish(assembled(folder), folder, replace(RECORD, key="url:2"))


def test_the_same_data_set_is_found_and_another_is_an_error(tmp_path: Path) -> None:
    assert find_fetched(tmp_path / "new", "url:1") is None
    folder = tmp_path / "photos"
    publish(assembled(folder), folder, RECORD)

    fetched = find_fetched(folder, "url:1", "abab")

    assert fetched is not None
    assert (fetched.record, fetched.is_new, fetched.notes) == (replace(RECORD, files=1), False, ())
    for key, sha256 in (("url:2", ""), ("url:1", "cd")):
        with pytest.raises(DataError, match=r"a new or an empty folder.*--out"):
            find_fetched(folder, key, sha256)


def test_files_that_were_deleted_since_are_said(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    publish(assembled(folder), folder, RECORD)
    (folder / "cat" / "1.png").unlink()

    fetched = find_fetched(folder, "url:1")

    assert fetched is not None
    assert fetched.notes == ("1 of its 1 files are missing. To have all: remove the folder, and fetch again.",)


@pytest.mark.parametrize("content", ["", "{", '{"format": "headstart-source-1", "origins": []}'])
def test_a_damaged_record_is_what_is_named(tmp_path: Path, content: str) -> None:
    folder = tmp_path / "photos"
    publish(assembled(folder), folder, RECORD)
    (folder / "source.json").write_text(content)

    with pytest.raises(DataError, match=r"one whose source\.json is damaged"):
        find_fetched(folder, "url:1", "abab")


def test_an_address_without_a_known_hash_is_not_the_one_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    publish(assembled(folder), folder, replace(RECORD, origins=(Origin("u", "", 1),)))

    with pytest.raises(DataError, match="the same address with no SHA-256 noted"):
        find_fetched(folder, "url:1", "abab")


def test_staging_keeps_downloads_and_drops_what_is_assembled_again(tmp_path: Path) -> None:
    staging = make_staging(tmp_path / "photos")
    (staging / "x.archive.part").write_bytes(b"half")
    (staging / "complete").mkdir()
    (staging / "complete" / "1.png").write_bytes(b"1")

    clear_staging(staging)

    assert [path.name for path in staging.iterdir()] == ["x.archive.part"]
    (staging / "x.archive.part").unlink()
    clear_staging(staging)
    assert not staging.exists()


def test_a_staging_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(DataError, match=r"a folder that can be written.*--out"):
        make_staging(tmp_path / "file" / "photos")
