"""What headstart wrote is known again: folders of its own, and files that it put beside others."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.data.folder_scan import read_tree
from headstart.data.image_set import scan, scan_unlabelled
from headstart.data.output_record import (
    NAME,
    is_output,
    is_output_folder,
    is_run,
    output_folder,
    real_cache,
    record_figure,
    record_files,
    record_folder,
    recorded_files,
)
from headstart.data.source_record import Origin, SourceRecord, write_record
from headstart.errors import DataError
from laid_files import lay, rows


def own_output(folder: Path) -> tuple[str, ...]:
    """What a scan says it skipped since headstart wrote it."""
    return read_tree(folder).others.get("own-output", ())


def test_a_new_or_empty_folder_becomes_headstarts_own_and_another_does_not(tmp_path: Path) -> None:
    lay(tmp_path, "empty/", "cat/1.jpg")
    for name in ("new", "empty", "cat"):
        output_folder(tmp_path / name)
    assert [is_output_folder(tmp_path / name) for name in ("new", "empty", "cat")] == [True, True, False]
    assert not (tmp_path / "cat" / NAME).exists()

    lay(tmp_path, "new/1.jpg")
    output_folder(tmp_path / "new")

    assert is_output_folder(tmp_path / "new")
    assert own_output(tmp_path) == ("empty/", "new/")


def test_files_beside_those_of_others_are_skipped_until_they_are_replaced(tmp_path: Path) -> None:
    lay(tmp_path, "a/1.jpg", "a/map.png", "a/map-2.png", "b/1.jpg")
    record_files(tmp_path / "a", ["map.png"])
    record_files(tmp_path / "a", ["map-2.png", "never-written.png"])
    assert recorded_files(str(tmp_path / "a")) == {"map.png": 24, "map-2.png": 24}

    assert own_output(tmp_path) == ("a/map-2.png", "a/map.png")
    assert [name for name, _, _ in rows(scan(tmp_path))] == ["a/1.jpg", "b/1.jpg"]

    lay(tmp_path, "a/map.png", content=bytes(25))  # a photograph that takes the name
    assert own_output(tmp_path) == ("a/map-2.png",)


def test_a_skipped_folder_is_said_once_and_is_no_empty_class(tmp_path: Path) -> None:
    lay(tmp_path, "a/1.jpg", "b/1.jpg", "explained/1.png", "runs/x/run.json", "runs/x/predictions.csv", "runs/y/")
    lay(tmp_path, "runs/y/run.json", "runs/y/classifier.safetensors", "runs/y/explained/1.png")
    record_folder(tmp_path / "explained")

    image_set = scan(tmp_path)

    assert image_set.classes == ("a", "b")
    (finding,) = image_set.findings
    assert (finding.kind, finding.severity) == ("skipped", "note")
    assert finding.names == ("explained/", "runs/x/", "runs/y/")
    assert finding.message.startswith("3 folders skipped: written by headstart")


def test_a_record_of_a_user_is_no_run(tmp_path: Path) -> None:
    lay(tmp_path, "cat/run.json", "cat/1.jpg", "dog/1.jpg")
    assert not is_run({"run.json", "1.jpg"})
    assert is_run({"run.json", "report.html", "predictions.csv"})
    assert scan(tmp_path).classes == ("cat", "dog")


def test_a_folder_of_headstart_that_is_named_itself_is_read(tmp_path: Path) -> None:
    lay(tmp_path, "sorted/a/1.jpg", "sorted/b/1.jpg", "sorted/_unreadable/1.jpg")
    record_folder(tmp_path / "sorted")
    record_folder(tmp_path / "sorted" / "_unreadable")

    assert scan(tmp_path / "sorted").classes == ("a", "b")
    assert len(scan_unlabelled([tmp_path / "sorted"])) == 2


def test_the_only_folder_with_images_is_read_whoever_made_it(tmp_path: Path) -> None:
    lay(tmp_path, "demo/hands/a/1.jpg", "demo/hands/b/1.jpg", "demo/run/run.json", "demo/run/predictions.csv")
    lay(tmp_path, "demo/run/explained/1.png")
    record_folder(tmp_path / "demo")
    record_folder(tmp_path / "demo" / "hands")

    assert [name for name, _, _ in rows(scan(tmp_path))] == ["demo/hands/a/1.jpg", "demo/hands/b/1.jpg"]


def test_a_fetched_set_is_no_class_but_a_fetched_folder_of_images_is(tmp_path: Path) -> None:
    record = SourceRecord(
        source="x", key="x", date="2026-01-01", licence="", home="", origins=(Origin("https://x", "", 1),)
    )
    lay(tmp_path, "cat/1.jpg", "dog/1.jpg", "rps/rock/1.jpg", "rps/paper/1.jpg")
    for name in ("cat", "rps"):
        write_record(tmp_path / name, record)

    assert own_output(tmp_path) == ("rps/",)
    assert scan(tmp_path).classes == ("cat", "dog")
    assert scan(tmp_path / "rps").classes == ("paper", "rock")


def test_the_cache_is_no_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(tmp_path, "cat/1.jpg", "dog/1.jpg", "cache/archives/1/a/1.jpg")
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))

    assert real_cache() == str((tmp_path / "cache").resolve())
    assert scan(tmp_path).classes == ("cat", "dog")
    assert len(scan_unlabelled([tmp_path / "cache" / "archives" / "1"])) == 1


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[1]", b'{"format": "headstart-output-1", "whole": 1, "files": {}}', b'{"format": "x"}', b"\xff",
     b'{"format": "headstart-output-2", "whole": true, "files": {}}', b"[" * 100_000],
)  # fmt: skip
def test_a_record_that_is_not_ours_hides_nothing(tmp_path: Path, content: bytes) -> None:
    lay(tmp_path, f"cat/{NAME}", content=content)
    lay(tmp_path, "cat/1.jpg", "dog/1.jpg")

    assert not is_output(str(tmp_path / "cat"), {NAME, "1.jpg"})
    assert scan(tmp_path).classes == ("cat", "dog")


def test_only_a_figure_beside_images_is_recorded(tmp_path: Path) -> None:
    lay(tmp_path, "cat/1.jpg", "cat/figure.png", "cat/figure.svg", "papers/figure.png", "papers/text.txt")
    for name in ("cat/figure.png", "cat/figure.svg", "papers/figure.png"):
        record_figure(tmp_path / name)

    assert recorded_files(str(tmp_path / "cat")) == {"figure.png": 24}
    assert not (tmp_path / "papers" / NAME).exists()


def test_images_to_predict_are_without_those_of_headstart_and_it_is_said(tmp_path: Path) -> None:
    lay(tmp_path, "1.jpg", "explained/1.png")
    record_folder(tmp_path / "explained")
    said: list[str] = []

    assert scan_unlabelled([tmp_path], on_skip=said.append) == [tmp_path / "1.jpg"]
    assert len(said) == 1
    assert "written by headstart" in said[0]


def test_where_all_was_written_by_headstart_the_error_says_so(tmp_path: Path) -> None:
    lay(tmp_path, "explained/1.png", "again/1.png")
    for name in ("explained", "again"):
        record_folder(tmp_path / name)

    with pytest.raises(DataError, match="written by headstart"):
        scan(tmp_path)
    with pytest.raises(DataError, match="written by headstart"):
        scan_unlabelled([tmp_path])
