"""Files that are filled through a memory map have all their room before, or are a clear error and no file."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from headstart.errors import RunError
from headstart.features.features_file import create_file
from headstart.features.row_file import RowFile

needs_fallocate = pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system cannot reserve room")
WIDTH = 40_000


def matrix_file(folder: Path) -> Path:
    create_file(folder / "features.safetensors", ("a", "b"), ("00" * 32, "11" * 32), WIDTH, {"last": (0, WIDTH)})
    return folder / "features.safetensors"


def row_file(folder: Path) -> Path:
    RowFile(folder, ["a", "b"], [(WIDTH,)], "float32")
    return folder / "0.npy"


@needs_fallocate
@pytest.mark.parametrize("make", [matrix_file, row_file])
def test_every_byte_has_its_place_on_the_disk_before_it_is_filled(make: object, tmp_path: Path) -> None:
    status = make(tmp_path).stat()  # type: ignore[operator]

    assert status.st_size > 8 * WIDTH
    assert status.st_blocks * 512 >= status.st_size


@needs_fallocate
@pytest.mark.parametrize(("make", "way"), [(matrix_file, "--out"), (row_file, "HEADSTART_CACHE")])
def test_a_full_disk_is_a_clear_error_and_takes_no_room(
    make: object, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int, begin: int, length: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)

    with pytest.raises(RunError, match=rf"0.3 MB that can be written, found .* MB free \(.*No space left.*{way}"):
        make(tmp_path)  # type: ignore[operator]
    assert list(tmp_path.iterdir()) == []  # nor do the tensors before


@needs_fallocate
@pytest.mark.parametrize("make", [matrix_file, row_file])
@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_system_that_cannot_reserve_is_used_as_it_is(
    make: object, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(handle: int, begin: int, length: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "posix_fallocate", cannot)

    assert make(tmp_path).stat().st_size > 8 * WIDTH  # type: ignore[operator]


def test_opening_rows_again_changes_none(tmp_path: Path) -> None:
    values = np.arange(2 * WIDTH, dtype=np.float32).reshape(2, WIDTH)
    RowFile(tmp_path, ["a", "b"], [(WIDTH,)], "float32").write([1], (values[1:],))

    again = RowFile(tmp_path, ["a", "b"], [(WIDTH,)], "float32")

    assert again.missing == [0]
    np.testing.assert_array_equal(again.read(np.array([1]))[0], values[1:])
