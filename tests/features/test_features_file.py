"""The file of a run's features: plain safetensors, filled through a memory map, refused when cut off."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import load_file

from headstart.errors import RunError
from headstart.features.features_file import create_file, load_features, scratch_matrix
from headstart.features.matrix import Features

SLICES = {"a": (0, 2), "b": (2, 5)}


def make(count: int = 10) -> Features:
    matrix = np.random.default_rng(0).normal(size=(count, 5)).astype(np.float32)
    return Features(
        matrix, SLICES, tuple(f"{i}é\n.png" for i in range(count)), tuple(f"{i:064x}" for i in range(count))
    )


def test_the_file_is_plain_safetensors_and_comes_back_equal(tmp_path: Path) -> None:
    features, path = make(), tmp_path / "features.safetensors"
    matrix = create_file(path, features.names, features.contents, slices=SLICES)
    matrix[:] = features.matrix
    matrix.flush()  # type: ignore[attr-defined]

    again = load_features(path)

    np.testing.assert_array_equal(load_file(path)["features"], features.matrix)
    np.testing.assert_array_equal(again.matrix, features.matrix)
    assert (again.names, again.contents, again.slices) == (features.names, features.contents, SLICES)


def test_a_cut_off_file_is_a_clear_error(tmp_path: Path) -> None:
    features, path = make(), tmp_path / "features.safetensors"
    create_file(path, features.names, features.contents, slices=SLICES)
    path.write_bytes(path.read_bytes()[:-7])

    with pytest.raises(RunError, match="features of a run"):
        load_features(path)


def test_a_file_that_the_disk_does_not_give_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, path = make(), tmp_path / "features.safetensors"
    create_file(path, features.names, features.contents, slices=SLICES)

    def refuse(*_: object, **__: object) -> None:
        raise SafetensorError("Error while deserializing: I/O error: Input/output error (os error 5)")

    monkeypatch.setattr("headstart.features.features_file.safe_open", refuse)
    with pytest.raises(RunError) as caught:
        load_features(path)
    assert caught.value.found == "Input/output error"
    assert caught.value.hint == "Check the disk and its connection."


def test_a_matrix_that_nobody_keeps_is_in_a_file_without_a_name(tmp_path: Path) -> None:
    features = Features(scratch_matrix(tmp_path, 4, 3), {"a": (0, 3)}, tuple("wxyz"), ("",) * 4)

    features.matrix[:] = np.arange(12).reshape(4, 3)
    features.release()  # its pages go to the file and come back

    np.testing.assert_array_equal(features.matrix, np.arange(12).reshape(4, 3))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_has_no_room_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("headstart.features.features_file.reserve", full)
    with pytest.raises(RunError, match="HEADSTART_CACHE"):
        scratch_matrix(tmp_path, 4, 3)
    assert list(tmp_path.iterdir()) == []
