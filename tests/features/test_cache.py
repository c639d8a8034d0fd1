"""The features' cache: what goes in comes out, and no damage gives a wrong row."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError

from headstart.errors import RunError
from headstart.features import cache as cache_module
from headstart.features.cache import FeatureCache, FeatureStore

ABOUT = {"backbone": "random", "weights": "abc"}


def contents(count: int, first: int = 0) -> list[str]:
    return [hashlib.sha256(bytes([i])).hexdigest() for i in range(first, first + count)]


def read_all(store: FeatureStore, wanted: list[str]) -> dict[int, np.ndarray]:
    return {int(p): row for positions, rows in store.read(wanted) for p, row in zip(positions, rows, strict=True)}


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path / "features", 1e9)


def test_rows_come_back_for_their_contents_in_any_order_and_any_process(cache: FeatureCache) -> None:
    rows = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    cache.open(ABOUT).add(contents(4), rows[:4])
    cache.open(ABOUT).add(contents(2, 4), rows[4:])

    order = [5, 0, 3]
    got = read_all(cache.open(ABOUT), [contents(6)[i] for i in order])

    for position, i in enumerate(order):
        np.testing.assert_array_equal(got[position], rows[i])


def test_another_backbone_or_weights_have_their_own_rows(cache: FeatureCache) -> None:
    cache.open(ABOUT).add(contents(1), np.ones((1, 2), np.float32))
    assert contents(1)[0] in cache.open(ABOUT)
    assert contents(1)[0] not in cache.open({**ABOUT, "weights": "other"})


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_shard_is_discarded_and_never_read_wrongly(cache: FeatureCache, damage: str) -> None:
    cache.open(ABOUT).add(contents(3), np.ones((3, 4), np.float32))
    shard = next(cache.folder.glob("*/*.safetensors"))
    data = bytearray(shard.read_bytes())
    if damage == "cut":
        del data[-10:]
    elif damage == "flip":
        data[-5] ^= 1
    else:
        data.clear()
    shard.write_bytes(bytes(data))

    store = cache.open(ABOUT)

    assert read_all(store, contents(3)) == {}
    assert contents(1)[0] not in store
    assert not shard.exists()


def test_a_shard_that_the_disk_does_not_give_is_missing_now_and_kept(
    cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.open(ABOUT).add(contents(3), np.ones((3, 4), np.float32))
    opened = cache.open(ABOUT)

    def refuse(*_: object, **__: object) -> None:
        raise OSError("Input/output error (os error 5)")  # as safetensors raises it: without a number

    with monkeypatch.context() as patched:
        patched.setattr(cache_module, "safe_open", refuse)
        assert read_all(opened, contents(3)) == {}
        assert contents(1)[0] not in cache.open(ABOUT)

    assert len(read_all(cache.open(ABOUT), contents(3))) == 3


def test_the_longest_unused_goes_first_and_the_one_in_use_stays(cache: FeatureCache) -> None:
    for name in ("old", "new"):
        cache.open({"backbone": name}).add(contents(3), np.ones((3, 1000), np.float32))
    old = next(card for card in cache.folder.glob("*/about.json") if "old" in card.read_text())
    import os

    os.utime(old, (1, 1))
    small = FeatureCache(cache.folder, 15_000)

    freed = small.shrink()

    assert freed > 12_000
    assert [entry.about["backbone"] for entry in small.entries()] == ["new"]
    assert FeatureCache(cache.folder, 0).shrink(keep=cache.open({"backbone": "new"})) == 0


def test_entries_have_images_and_bytes_and_clear_removes_all(cache: FeatureCache) -> None:
    cache.open(ABOUT).add(contents(3), np.ones((3, 4), np.float32))

    (entry,) = cache.entries()

    assert (entry.about, entry.images) == (ABOUT, 3)
    assert cache.clear() == entry.size_bytes
    assert cache.entries() == ()


def test_an_entry_that_another_process_removes_meanwhile_counts_for_nothing(
    cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = cache.open(ABOUT).folder
    read_card = cache_module.read_card

    def removed_first(card: Path) -> dict[str, object]:
        shutil.rmtree(folder, ignore_errors=True)
        return read_card(card)

    monkeypatch.setattr(cache_module, "read_card", removed_first)

    (entry,) = cache.entries()

    assert (entry.key, entry.about, entry.images, entry.size_bytes) == (folder.name, {}, 0, 0)


def test_a_full_disk_is_a_clear_error(cache: FeatureCache, monkeypatch: pytest.MonkeyPatch) -> None:
    store = cache.open(ABOUT)

    def full(*_: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(cache_module, "save_file", full)

    with pytest.raises(RunError, match=r"1.0 MB that can be written.*No space left.*HEADSTART_CACHE"):
        store.add(contents(3), np.ones((3, 80_000), np.float32))
    assert [path.name for path in store.folder.iterdir()] == ["about.json"]


def test_a_cache_that_cannot_be_a_folder_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(RunError, match=r"cache folder.*Not a directory.*HEADSTART_CACHE"):
        FeatureCache(tmp_path / "file" / "x", 1e9).open(ABOUT)


def test_discarded_contents_are_gone_from_the_disk_and_the_others_stay(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, 1e9)
    contents = [f"{i:064x}" for i in range(6)]
    rows = np.arange(12, dtype=np.float32).reshape(6, 2)
    for about in ({"backbone": "a"}, {"backbone": "b"}):
        store = cache.open(about)
        store.add(contents[:4], rows[:4])
        store.add(contents[4:], rows[4:])
    assert cache.discard([contents[1], contents[4], contents[5]]) == 6
    for about in ({"backbone": "a"}, {"backbone": "b"}):
        store = cache.open(about)
        assert [content in store for content in contents] == [True, False, True, True, False, False]
        ((positions, found),) = store.read(contents)
        assert positions.tolist() == [0, 2, 3]
        np.testing.assert_array_equal(found, rows[[0, 2, 3]])
    for file in tmp_path.rglob("*.safetensors"):
        assert bytes.fromhex(contents[1]) not in file.read_bytes()
    assert cache.discard([contents[1]]) == 0


def test_a_shard_of_another_backbone_is_discarded_where_it_is_copied_to(cache: FeatureCache) -> None:
    own, other = cache.open(ABOUT), cache.open({**ABOUT, "weights": "other"})
    other.add(contents(2), np.ones((2, 4), np.float32))  # of the same width, as another size of images gives
    shard = next(other.folder.glob("*.safetensors"))
    shutil.copy(shard, own.folder / shard.name)
    assert read_all(cache.open(ABOUT), contents(2)) == {}
    assert not list(own.folder.glob("*.safetensors"))
    assert len(read_all(cache.open({**ABOUT, "weights": "other"}), contents(2))) == 2
