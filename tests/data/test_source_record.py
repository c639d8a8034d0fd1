"""The record of a fetched data set is read back as written, and nothing else is read as one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from headstart.data.source_record import NAME, Origin, SourceRecord, read_record, write_record

RECORD = SourceRecord(
    source="rps",
    key="rps",
    date="2026-01-31",
    licence="CC BY 2.0",
    home="https://example.org",
    origins=(Origin("https://example.org/rps.zip", "ab" * 32, 12), Origin("https://example.org/test.zip", "", 3)),
)


def test_a_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    write_record(tmp_path, RECORD)

    assert read_record(tmp_path) == RECORD  # with no file yet
    assert json.loads((tmp_path / NAME).read_text())["format"] == "headstart-source-1"


def test_a_file_of_that_name_from_the_archive_is_kept(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("from the archive")

    write_record(tmp_path, RECORD)

    assert (tmp_path / "source-of-archive.json").read_text() == "from the archive"
    assert read_record(tmp_path) == replace(RECORD, files=1)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "another"}', '{"format": "headstart-source-1"}', "null"])
def test_another_file_of_that_name_is_not_a_record(tmp_path: Path, text: str) -> None:
    (tmp_path / NAME).write_text(text)

    assert read_record(tmp_path) is None


@pytest.mark.parametrize(
    "changed", [{"origins": []}, {"origins": [{"url": "u", "sha256": "", "size_bytes": -1}]}, {"files": -1}]
)
def test_a_record_that_no_fetch_writes_is_none(tmp_path: Path, changed: dict[str, object]) -> None:
    write_record(tmp_path, RECORD)
    written = json.loads((tmp_path / NAME).read_text())

    (tmp_path / NAME).write_text(json.dumps({**written, **changed}))

    assert read_record(tmp_path) is None


def test_a_record_of_before_has_no_number_of_files(tmp_path: Path) -> None:
    write_record(tmp_path, RECORD)
    written = json.loads((tmp_path / NAME).read_text())
    del written["files"]

    (tmp_path / NAME).write_text(json.dumps(written))

    assert read_record(tmp_path) == RECORD


def test_a_folder_without_the_file_has_no_record(tmp_path: Path) -> None:
    assert read_record(tmp_path) is None
