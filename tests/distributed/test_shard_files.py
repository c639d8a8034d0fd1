"""Results of shards: whole or not there, found again by what they were made of."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from headstart.distributed.shard_files import ShardFiles, matrix_of
from headstart.errors import RunError


def table(start: int, rows: int) -> pa.Table:
    values = pa.array(np.arange(start, start + 3 * rows, dtype=np.float32))
    return pa.table({"name": [str(i) for i in range(rows)], "features": pa.FixedSizeListArray.from_arrays(values, 3)})


def test_what_is_written_is_read_as_it_was(tmp_path: Path) -> None:
    files = ShardFiles(tmp_path, {"kind": "extract"})
    assert files.read("a") is None
    files.write("a", [table(0, 2), table(6, 1)])
    found = files.read("a")
    assert found is not None
    np.testing.assert_array_equal(matrix_of(found), np.arange(9, dtype=np.float32).reshape(3, 3))
    assert files.read("a", ["name"]).column_names == ["name"]
    assert ShardFiles(tmp_path, {"kind": "extract"}).read("a") is not None
    assert ShardFiles(tmp_path, {"kind": "audit"}).read("a") is None


def test_a_result_that_fails_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    files = ShardFiles(tmp_path, {})

    def broken() -> object:
        yield table(0, 1)
        raise ValueError("killed")

    with pytest.raises(ValueError, match="killed"):
        files.write("a", broken())
    assert files.read("a") is None
    assert not list(files.folder.iterdir())
    with pytest.raises(RunError, match="a shard with images"):
        files.write("a", [])


def test_a_damaged_result_is_computed_again(tmp_path: Path) -> None:
    files = ShardFiles(tmp_path, {})
    path = files.write("a", [table(0, 50)])
    path.write_bytes(path.read_bytes()[:200])
    assert files.read("a") is None
    assert not path.exists()


def test_a_flipped_bit_and_the_result_of_another_shard_are_no_result(tmp_path: Path) -> None:
    files, rng = ShardFiles(tmp_path, {}), np.random.default_rng(0)
    path = files.write("a", [table(0, 50)])
    whole = path.read_bytes()
    for place in (*rng.integers(0, len(whole), 60), len(whole) - 1):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(damaged))
        assert files.read("a") is None, place
    path.write_bytes(whole)
    assert files.read("a") is not None
    files.path("b").write_bytes(whole)
    assert files.read("b") is None
    for content in (b"", b"text"):
        path.write_bytes(content)
        assert files.read("a") is None
    path.mkdir()
    assert files.read("a") is None
    assert not path.exists()


def test_a_result_that_the_disk_does_not_give_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = ShardFiles(tmp_path, {})
    files.write("a", [table(0, 50)])

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "Error reading bytes from file. Detail: [errno 5] Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(pa, "memory_map", refuse)
        assert files.read("a") is None

    again = files.read("a")
    assert again is not None
    assert again.num_rows == 50
