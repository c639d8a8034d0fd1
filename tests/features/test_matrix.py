"""Views of features: scaling, blocks, the file."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest

from headstart.errors import DataError
from headstart.features.matrix import Features, scale_stages

SLICES = {"a": (0, 2), "b": (2, 5)}


def make(count: int = 10) -> Features:
    matrix = np.random.default_rng(0).normal(size=(count, 5)).astype(np.float32)
    return Features(
        matrix, SLICES, tuple(f"{i}é\n.png" for i in range(count)), tuple(f"{i:064x}" for i in range(count))
    )


def test_each_stage_is_scaled_to_unit_length_and_zeros_stay_zeros() -> None:
    parts = [np.array([[3.0, 4.0], [0.0, 0.0]], np.float32), np.array([[0.0, 5.0, 12.0]] * 2, np.float32)]

    scaled = scale_stages(parts)

    np.testing.assert_allclose(scaled, [[0.6, 0.8, 0, 5 / 13, 12 / 13], [0, 0, 0, 5 / 13, 12 / 13]])


def test_blocks_are_the_rows_in_order_and_never_split_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.features.matrix.BLOCK_ROWS", 4)
    view = make().view(np.array([9, 3, 3, 0, 1, 2, 4, 5]), ("b", "a"))
    starts = np.array([0, 3, 5])

    blocks = list(view.blocks(starts))

    assert [(rows.start, rows.stop) for rows, _ in blocks] == [(0, 3), (3, 5), (5, 8)]
    np.testing.assert_allclose(np.concatenate([x for _, x in blocks]), view.array())


def test_a_run_longer_than_a_block_comes_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.features.matrix.BLOCK_ROWS", 2)
    view = make().view(np.arange(8), ("a",))
    assert [(rows.start, rows.stop) for rows, _ in view.blocks(np.array([0, 1, 7]))] == [(0, 1), (1, 7), (7, 8)]


def test_a_stage_is_had_by_its_name_without_a_copy() -> None:
    features = make()
    assert features.stages == ("a", "b")
    np.testing.assert_array_equal(features["b"], features.matrix[:, 2:5])
    assert np.shares_memory(features["b"], features.matrix)
    with pytest.raises(DataError, match="Expected a stage: a, b, found 'c'"):
        features["c"]


def test_pages_that_are_let_go_of_lose_nothing(tmp_path: Path) -> None:
    rows = make(300).matrix
    mapped = np.memmap(tmp_path / "rows", np.float32, "w+", shape=rows.shape)
    mapped[:] = rows
    mapped.flush()
    writable = np.memmap(tmp_path / "rows", np.float32, "r+", shape=rows.shape)
    features = Features(writable, SLICES, make(300).names, make(300).contents)

    writable[7] = 5.0
    features.release()  # not yet written to the disk
    np.testing.assert_array_equal(features.view(np.arange(300), ("a", "b"), unit=False).array()[7], 5.0)
    np.testing.assert_array_equal(features["b"][8:], rows[8:, 2:])
    make().release()  # of an array in memory there is nothing to let go of


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_scattered_rows_of_a_mapped_file_bring_little_of_it_into_memory(tmp_path: Path) -> None:
    """600 of 60,000 rows, 240 MB: read all at once, most of the file's pages come along."""
    rng = np.random.default_rng(0)
    shape = (60_000, 1_000)
    written = np.memmap(tmp_path / "rows", np.float32, "w+", shape=shape)
    written[:] = np.arange(shape[0], dtype=np.float32)[:, None]
    written.flush()
    del written
    features = Features(np.memmap(tmp_path / "rows", np.float32, "r", shape=shape), {"x": (0, 1_000)}, (), ())
    chosen, before = rng.permutation(shape[0])[:600], resident()
    expected = features.matrix[chosen]
    at_once, pages = resident() - before, list[int]()
    features.release()
    before = resident()
    release = Features.release

    def watched(self: Features) -> None:
        pages.append(resident())
        release(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Features, "release", watched)
        found = features.take(chosen)

    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found[:, 0], chosen)
    assert max(pages) - before < at_once / 2  # 40 to 210 MB, by the file system
    np.testing.assert_array_equal(features.take(np.arange(5, 9)), features.matrix[5:9])
    assert features.take(np.arange(0)).shape == (0, 1_000)


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


def test_features_show_their_shape_and_stages_and_not_each_name() -> None:
    assert repr(make()) == "Features(10 images, 10×5 float32: a, b)"
