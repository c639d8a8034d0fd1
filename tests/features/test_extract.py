"""Extraction: each image once, what is stored is not decoded again, an interruption keeps its work."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from headstart.backbones.backbone import Backbone, load_backbone
from headstart.data import batches
from headstart.data.images import ImageRules, open_image
from headstart.engines.choose import Engine
from headstart.engines.forward import Forward
from headstart.errors import BackboneError, DataError
from headstart.features.cache import FeatureCache
from headstart.features.extract import ImageFiles, extract_features, open_store, store_prepared

RULES = ImageRules()


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone("random", seed=0)


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path / "features", 1e9)


def engine_of(forward: Forward) -> Engine:
    return Engine("eager", "the network itself", forward)


def files_of(folder: Path, count: int = 10) -> ImageFiles:
    paths = tuple(sorted(folder.rglob("*.png"))[:count])
    contents = tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)
    return ImageFiles(paths, tuple(path.name for path in paths), contents, RULES)


def test_features_equal_running_the_network_on_each_image(
    photos: Path, backbone: Backbone, cache: FeatureCache
) -> None:
    files = files_of(photos)

    features, told = extract_features(
        files, backbone, engine_of(backbone.features), open_store(cache, backbone, RULES), batch_size=4
    )

    prepare, normalise = backbone.preprocess.prepare, backbone.preprocess.normalise
    alone = [backbone.features(normalise(prepare(open_image(path).rgb)[None])) for path in files.paths]
    np.testing.assert_allclose(features.matrix, torch.cat(alone).numpy(), rtol=1e-4, atol=1e-5)
    assert (told.cached, told.computed) == (0, 10)


def test_a_second_time_no_image_is_opened(
    photos: Path, backbone: Backbone, cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = files_of(photos)
    first, _ = extract_features(files, backbone, engine_of(backbone.features), open_store(cache, backbone, RULES))
    monkeypatch.setattr(batches, "open_image", lambda *_: pytest.fail("an image was opened"))

    again, told = extract_features(files, backbone, engine_of(backbone.features), open_store(cache, backbone, RULES))

    np.testing.assert_array_equal(again.matrix, first.matrix)
    assert (told.cached, told.computed) == (10, 0)


def test_pixels_that_are_prepared_already_give_the_same_rows(
    photos: Path, backbone: Backbone, cache: FeatureCache, tmp_path: Path
) -> None:
    files, store = files_of(photos, 4), open_store(cache, backbone, RULES)
    pixels = [backbone.preprocess.prepare(open_image(path).rgb) for path in files.paths]
    store_prepared(pixels, files.contents, backbone, forward=backbone.features, store=store)

    kept, told = extract_features(files, backbone, engine_of(backbone.features), store)
    other = open_store(FeatureCache(tmp_path / "other", 1e9), backbone, RULES)
    expected, _ = extract_features(files, backbone, engine_of(backbone.features), other)

    assert (told.cached, told.computed) == (4, 0)
    np.testing.assert_array_equal(kept.matrix, expected.matrix)


def test_one_image_under_two_names_is_computed_once(photos: Path, backbone: Backbone, cache: FeatureCache) -> None:
    one = files_of(photos, 1)
    twice = ImageFiles(one.paths * 2, ("a", "b"), one.contents * 2, RULES)

    features, told = extract_features(twice, backbone, engine_of(backbone.features), open_store(cache, backbone, RULES))

    assert told.computed == 1
    np.testing.assert_array_equal(features.matrix[0], features.matrix[1])


def test_an_interruption_keeps_what_was_done(photos: Path, backbone: Backbone, cache: FeatureCache) -> None:
    files, calls = files_of(photos), []

    def interrupted(pixels: torch.Tensor) -> torch.Tensor:
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(len(pixels))
        return backbone.features(pixels)

    with pytest.raises(KeyboardInterrupt):
        extract_features(files, backbone, engine_of(interrupted), open_store(cache, backbone, RULES), batch_size=3)
    _, told = extract_features(files, backbone, engine_of(backbone.features), open_store(cache, backbone, RULES))

    assert (told.cached, told.computed) == (6, 4)


def test_other_weights_are_another_store(photos: Path, backbone: Backbone, cache: FeatureCache) -> None:
    other = load_backbone("random", seed=1)
    files = files_of(photos, 2)
    extract_features(files, backbone, engine_of(backbone.features), open_store(cache, backbone, RULES))

    assert len(open_store(cache, backbone, RULES)) == 2
    assert len(open_store(cache, other, RULES)) == 0
    with torch.no_grad():  # a buffer counts as well
        next(buffer for name, buffer in other.network.named_buffers() if "running_mean" in name).add_(1)
    assert other.fingerprint != load_backbone("random", seed=1).fingerprint


def test_a_shard_damaged_on_disk_is_computed_again(photos: Path, backbone: Backbone, cache: FeatureCache) -> None:
    files = files_of(photos, 4)
    first, _ = extract_features(files, backbone, engine_of(backbone.features), open_store(cache, backbone, RULES))
    store = open_store(cache, backbone, RULES)
    shard = next(store.folder.glob("*.safetensors"))
    data = bytearray(shard.read_bytes())
    data[-3] ^= 1
    shard.write_bytes(bytes(data))

    again, _ = extract_features(files, backbone, engine_of(backbone.features), store)

    np.testing.assert_allclose(again.matrix, first.matrix, rtol=1e-5)


def test_an_image_that_vanishes_is_a_clear_error(photos: Path, backbone: Backbone, cache: FeatureCache) -> None:
    gone = ImageFiles((photos / "gone.png",), ("gone.png",), ("0" * 64,), RULES)
    with pytest.raises(DataError, match=r"gone\.png to stay readable"):
        extract_features(gone, backbone, engine_of(backbone.features), open_store(cache, backbone, RULES))


def test_a_file_that_changes_after_it_was_hashed_is_refused_and_nothing_of_it_is_stored(
    photos: Path, backbone: Backbone, cache: FeatureCache, tmp_path: Path
) -> None:
    files, store = files_of(photos, 2), open_store(cache, backbone, RULES)
    changed = tmp_path / "changed.png"
    changed.write_bytes(files.paths[1].read_bytes())  # the bytes of the second under the hash of the first
    poisoned = ImageFiles((changed,), ("changed.png",), files.contents[:1], RULES)

    with pytest.raises(DataError, match=r"changed\.png .*was changed while it was in use"):
        extract_features(poisoned, backbone, engine_of(backbone.features), store)

    assert files.contents[0] not in open_store(cache, backbone, RULES)


def test_features_that_overflow_are_refused_with_the_image(
    photos: Path, backbone: Backbone, cache: FeatureCache
) -> None:
    """Finite weights may still give infinity: `embed` wrote it, and `train` broke off in the solver."""
    files = files_of(photos)
    store = open_store(cache, backbone, files.rules)

    def overflows(pixels: torch.Tensor) -> torch.Tensor:
        features = backbone.plain_features(pixels)
        features[1, 3] = torch.inf
        return features

    with pytest.raises(BackboneError, match=rf"NaN or infinity for 1 image, such as {files.names[1]}"):
        extract_features(files, backbone, engine_of(overflows), store)
    store.add(files.contents, np.full((len(files.contents), sum(backbone.widths)), np.nan, np.float32))
    with pytest.raises(BackboneError, match=rf"infinity for {len(files.names)} images"):  # from an older cache
        extract_features(files, backbone, engine_of(backbone.plain_features), store)


def test_into_a_file_the_matrix_is_a_memory_map(
    photos: Path, backbone: Backbone, cache: FeatureCache, tmp_path: Path
) -> None:
    files, store = files_of(photos, 3), open_store(cache, backbone, RULES)
    in_memory, _ = extract_features(files, backbone, engine_of(backbone.features), store)

    on_disk, _ = extract_features(files, backbone, engine_of(backbone.features), store, into=tmp_path / "f.safetensors")

    assert isinstance(on_disk.matrix, np.memmap)
    np.testing.assert_array_equal(on_disk.matrix, in_memory.matrix)


def test_a_large_matrix_that_nobody_keeps_is_no_memory(
    photos: Path, backbone: Backbone, cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, store = files_of(photos), open_store(cache, backbone, RULES)
    small, _ = extract_features(files, backbone, engine_of(backbone.features), store)
    monkeypatch.setattr("headstart.features.extract._IN_MEMORY", small.matrix.nbytes - 1)

    large, _ = extract_features(files, backbone, engine_of(backbone.features), store)

    assert isinstance(large.matrix, np.memmap)
    assert not isinstance(small.matrix, np.memmap)
    np.testing.assert_array_equal(large.matrix, small.matrix)
