"""Rows on disk: made once, checked when opened, made again when damaged, gone on with when interrupted."""

from __future__ import annotations

import errno
import json
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from headstart.errors import RunError
from headstart.features.cache import FeatureCache
from headstart.features.row_file import RowFile, Rows, fill_rows, open_rows

KEYS = [f"image {i}" for i in range(7)]
SHAPES = [(2, 3), (4,)]


def value(place: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full((2, 3), place + 0.5, np.float32), np.arange(4, dtype=np.float32) * place


class Maker:
    def __init__(self) -> None:
        self.made: list[int] = []

    def __call__(self, places: Sequence[int]) -> Rows:
        self.made += places
        pairs = [value(place) for place in places]
        return np.stack([a for a, _ in pairs]), np.stack([b for _, b in pairs])


def opened(folder: Path, dtype: str = "float32") -> RowFile:
    return open_rows(FeatureCache(folder, 1e9), {"what": "test"}, KEYS, shapes=SHAPES, dtype=dtype)


def test_rows_are_made_once_and_read_in_any_order(tmp_path: Path) -> None:
    maker, rows = Maker(), opened(tmp_path)
    assert fill_rows(rows, maker, batch_size=3) == 7
    again = opened(tmp_path)
    assert fill_rows(again, maker, batch_size=3) == 0
    assert maker.made == list(range(7))
    first, second = again.read(np.array([5, 0, 5]))
    assert first.tolist() == [value(i)[0].tolist() for i in (5, 0, 5)]
    assert second.tolist() == [value(i)[1].tolist() for i in (5, 0, 5)]


def test_a_batch_is_there_as_a_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of one would be made again in a smaller batch, and so with other last bits."""
    maker, rows, checksum, calls = Maker(), opened(tmp_path), zlib.crc32, list[int]()

    def stops(data: bytes, start: int = 0) -> int:
        calls.append(len(data))
        if len(calls) == 9:  # each row has two tensors: two of the second batch's three rows begun
            raise KeyboardInterrupt
        return checksum(data, start)

    monkeypatch.setattr(zlib, "crc32", stops)
    with pytest.raises(KeyboardInterrupt):
        fill_rows(rows, maker, batch_size=3)
    assert rows.missing == [3, 4, 5, 6]


def test_an_interrupted_filling_goes_on_where_it_stopped(tmp_path: Path) -> None:
    maker = Maker()

    def interrupted(places: Sequence[int]) -> Rows:
        if places[0] >= 4:
            raise KeyboardInterrupt
        return maker(places)

    with pytest.raises(KeyboardInterrupt):
        fill_rows(opened(tmp_path), interrupted, batch_size=2)
    told: list[tuple[int, int]] = []
    assert fill_rows(opened(tmp_path), maker, batch_size=2, progress=lambda *pair: told.append(pair)) == 3
    assert maker.made == list(range(7))
    assert told == [(2, 3), (3, 3)]


@pytest.mark.parametrize("damage", ["flip", "cut", "sums", "foreign"])
def test_damaged_files_are_noticed_and_made_again(tmp_path: Path, damage: str) -> None:
    maker, rows = Maker(), opened(tmp_path)
    fill_rows(rows, maker, batch_size=7)
    path = rows.folder / "1.npy"
    del rows
    whole = path.read_bytes()
    if damage == "flip":
        path.write_bytes(whole[:-3] + b"\x55" + whole[-2:])  # in the last row
    elif damage == "cut":
        path.write_bytes(whole[:40])
    elif damage == "sums":
        (path.parent / "sums.npy").unlink()
    else:
        np.save(path, np.zeros((2, 2)))
    again = opened(tmp_path)
    assert again.missing == ([6] if damage == "flip" else list(range(7)))
    fill_rows(again, maker, batch_size=7)
    assert again.read(np.arange(7))[1].tolist() == [value(i)[1].tolist() for i in range(7)]


def test_another_type_or_set_of_images_has_its_own_file(tmp_path: Path) -> None:
    fill_rows(opened(tmp_path), Maker(), batch_size=7)
    assert opened(tmp_path, "float16").missing == list(range(7))
    other = open_rows(
        FeatureCache(tmp_path, 1e9), {"what": "test"}, [f"{key}?" for key in KEYS], shapes=SHAPES, dtype="float32"
    )
    assert other.missing == list(range(7))


def test_rows_of_pixels_of_another_reader_are_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_rows(opened(tmp_path), Maker(), batch_size=7)
    monkeypatch.setattr("headstart.features.row_file.READER", "another")
    assert opened(tmp_path).missing == list(range(7))


def test_the_cache_counts_shows_and_clears_them(tmp_path: Path) -> None:
    fill_rows(opened(tmp_path), Maker(), batch_size=7)
    cache = FeatureCache(tmp_path, 1e9)
    (entry,) = cache.entries()
    assert entry.images == 7
    assert entry.title == "test"
    assert entry.size_bytes >= 7 * 40
    assert cache.clear() == entry.size_bytes
    assert cache.entries() == ()


def test_one_more_image_costs_one_row(tmp_path: Path) -> None:
    cache, maker = FeatureCache(tmp_path, 1e9), Maker()
    fill_rows(open_rows(cache, {"what": "test"}, KEYS, shapes=SHAPES, dtype="float32"), maker, batch_size=3)
    wider = ["new", *KEYS[::-1]]
    rows = open_rows(cache, {"what": "test"}, wider, shapes=SHAPES, dtype="float32")
    assert rows.missing == [0]
    first, second = rows.read(np.array([1, 7]))
    assert first.tolist() == [value(i)[0].tolist() for i in (6, 0)]
    assert second.tolist() == [value(i)[1].tolist() for i in (6, 0)]
    other_way = open_rows(cache, {"what": "another"}, wider, shapes=SHAPES, dtype="float32")
    assert len(other_way.missing) == 8


def test_damaged_rows_are_not_copied(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, 1e9)
    rows = open_rows(cache, {"what": "test"}, KEYS, shapes=SHAPES, dtype="float32")
    fill_rows(rows, Maker(), batch_size=7)
    array = np.lib.format.open_memmap(rows.folder / "0.npy", "r+")
    array[3] = 99.0
    array.flush()
    assert open_rows(cache, {"what": "test"}, [*KEYS, "new"], shapes=SHAPES, dtype="float32").missing == [3, 7]


@pytest.mark.parametrize("name", ["rows.json", "about.json"])
def test_a_half_written_card_costs_no_row_and_is_listed_and_removed_like_any_other(tmp_path: Path, name: str) -> None:
    rows, cache = opened(tmp_path), FeatureCache(tmp_path, 1e9)
    fill_rows(rows, Maker(), batch_size=7)
    card = rows.folder / name
    card.write_text(card.read_text()[:9])

    (entry,) = cache.entries()

    assert (entry.key, entry.images) == (rows.folder.name, 0 if name == "rows.json" else 7)
    assert entry.size_bytes >= 7 * 40
    assert opened(tmp_path).missing == []
    (fixed,) = cache.entries()
    assert (fixed.images, fixed.title) == (7, "test")
    card.write_text("{")
    assert FeatureCache(tmp_path, 0).shrink() == entry.size_bytes
    assert cache.entries() == ()
    card.parent.mkdir()
    card.write_text("{")
    cache.clear()
    assert not tmp_path.exists()


def test_a_full_disk_changes_no_file_that_has_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(tmp_path).write([0], tuple(part[None] for part in value(0)))

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")  # as a disk that compresses may say of a finished file

    monkeypatch.setattr("headstart.features.row_file.reserve", full)
    assert 0 not in opened(tmp_path).missing


def test_a_disk_that_fills_while_the_names_are_written_leaves_the_old_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = opened(tmp_path)
    write_text = Path.write_text

    def half(path: Path, text: str, **options: str) -> int:
        write_text(path, text[:9], **options)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(RunError, match="HEADSTART_CACHE"):
        opened(tmp_path)

    assert json.loads((rows.folder / "rows.json").read_text())["keys"] == KEYS
    assert not list(rows.folder.glob("*.part"))
