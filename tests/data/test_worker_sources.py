"""Which sources only workers read: told apart by name and content, refused with the option that reads them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from headstart.data.image_set import scan
from headstart.data.worker_sources import check_read_here, needs_workers, recorded_source, training_words
from headstart.errors import DataError


def make_tar(path: Path, *names: str) -> str:
    with tarfile.open(path, "w") as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    return str(path)


def test_parquet_addresses_and_webdatasets_need_workers(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "0.parquet").touch()
    (tmp_path / "photos").mkdir()
    webdataset = make_tar(tmp_path / "wds.tar", "1.jpg", "1.cls")
    for source in ("s3://bucket/photos", "gs://b/*.tar", "s3:/as/a/Path", "photos/*.parquet", "w-*.tar", webdataset):
        assert needs_workers(source), source
    assert needs_workers(tmp_path / "parts")
    tree = make_tar(tmp_path / "tree.tar", "README.txt", "cat/1.jpg", "dog/2.jpg")
    for source in ("photos", "labels.csv", "photos.zip", "C:/photos", "C:\\photos", tree, str(tmp_path / "photos")):
        assert not needs_workers(source), source


@pytest.mark.parametrize(
    ("source", "found"),
    [("s3://bucket/x.parquet", "an address"), ("rows.parquet", "a Parquet file"), ("w-*.tar", "a pattern")],
)
def test_what_is_read_by_workers_is_refused_with_the_option_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, found: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.parquet").touch()
    with pytest.raises(DataError, match=rf"found {found} .*add --on local"):
        scan(Path(source))
    check_read_here(make_tar(tmp_path / "wds.tar", "1.jpg", "1.cls"), expected="images")  # a tar is unpacked


def test_commands_and_records_name_a_source_that_is_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert training_words("photos") == ["headstart", "train", "photos"]
    assert training_words("s3://b/*.parquet") == ["headstart", "train", "s3://b/*.parquet", "--on", "local"]
    assert recorded_source("photos") == str(tmp_path / "photos")
    assert recorded_source("s3://b/*.parquet") == "s3://b/*.parquet"
