"""Paths and addresses by one name: fsspec's own memory stands for a store in a cloud."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from headstart.distributed.remote import expand_url, identity, is_url, joined, open_url
from headstart.errors import DataError

fsspec = pytest.importorskip("fsspec")


def test_paths_in_a_table_lie_beside_it() -> None:
    assert joined("/data/a.parquet", "cat/1.jpg") == "/data/cat/1.jpg"
    assert joined("/data/a.parquet", "/x/1.jpg") == "/x/1.jpg"
    assert joined("s3://bucket/photos/a.parquet", "cat/1.jpg") == "s3://bucket/photos/cat/1.jpg"
    assert joined("a.parquet", "gs://b/1.jpg") == "gs://b/1.jpg"
    assert is_url("s3://x")
    assert not is_url("/x")


def test_files_and_addresses_are_found_opened_and_told_apart(tmp_path: Path) -> None:
    system = fsspec.filesystem("memory")
    for folder, name in (("memory://shop", ""), (str(tmp_path), "")):
        for key in ("a", "b"):
            if is_url(folder):
                system.pipe(f"/shop/{key}.parquet", key.encode())
            else:
                (tmp_path / f"{key}.parquet").write_bytes(key.encode())
        found = expand_url(f"{folder}/*.parquet{name}", ".parquet")
        assert len(found) == 2
        assert expand_url(folder, ".parquet") == found
        with open_url(found[1]) as file:
            assert file.read() == b"b"
        assert identity(found[0]) != identity(found[1])
        with pytest.raises(DataError, match="none"):
            expand_url(f"{folder}/*.tar", ".tar")


def test_a_changed_file_has_another_identity(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"1")
    before = identity(str(file))
    assert identity(str(file)) == before
    file.write_bytes(b"12")
    assert identity(str(file)) != before
    assert identity(str(tmp_path / "gone")).endswith("missing")


def test_a_file_that_is_verified_is_told_by_its_bytes(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"1")
    before, trusted = identity(str(file), verify=True), identity(str(file))
    status = file.stat()
    os.utime(file, ns=(0, 0))
    assert identity(str(file)) != trusted
    assert identity(str(file), verify=True) == before
    while file.stat().st_ctime_ns == status.st_ctime_ns or file.read_bytes() == b"1":  # the clock of files may be slow
        file.write_bytes(b"2")
        os.utime(file, ns=(status.st_mtime_ns, status.st_mtime_ns))
    assert identity(str(file)) != trusted  # by the system's own time of change
    assert identity(str(file), verify=True) != before
    assert identity(str(tmp_path), verify=True)  # a folder, which nothing reads as an image
    assert identity(str(tmp_path / "gone"), verify=True).endswith("missing")


def test_what_cannot_be_reached_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"), open_url(str(tmp_path / "gone")):
        pass
    with pytest.raises(DataError, match=r"FileNotFoundError.*memory://gone"), open_url("memory://gone/x"):
        pass
    with pytest.raises(DataError, match="fsspec knows"):
        expand_url("nosuch://bucket/x", ".parquet")
    if importlib.util.find_spec("s3fs") is None:
        with pytest.raises(DataError, match=r"the package s3fs to read s3://.*not installed"):
            expand_url("s3://bucket/*.parquet", ".parquet")
    if importlib.util.find_spec("gcsfs") is None:
        with pytest.raises(DataError, match=r"the package gcsfs to read gs://.*not installed") as error:
            expand_url("gs://bucket/*.parquet", ".parquet")
        assert str(error.value.hint).endswith("gcsfs")


def test_any_scheme_that_fsspec_knows_is_read(tmp_path: Path) -> None:
    from fsspec.implementations.local import LocalFileSystem

    class Shop(LocalFileSystem):  # type: ignore[misc]  # fsspec has no types
        protocol = "shop"

        @classmethod
        def _strip_protocol(cls, path: str) -> str:  # older fsspec removes that of files alone
            return str(super()._strip_protocol(path.removeprefix("shop://")))

    fsspec.register_implementation("shop", Shop, clobber=True)
    (tmp_path / "a.parquet").write_bytes(b"a")
    found = expand_url(f"shop://{tmp_path}/*.parquet", ".parquet")
    assert found == [f"shop://{tmp_path}/a.parquet"]
    with open_url(found[0]) as file:
        assert file.read() == b"a"
    before = identity(found[0])
    (tmp_path / "a.parquet").write_bytes(b"ab")
    assert identity(found[0]) != before
