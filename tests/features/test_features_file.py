"""The file of a run's features: plain safetensors, filled through a memory map, refused when cut off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from headstart.errors import RunError
from headstart.features.features_file import create_file, load_features
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
