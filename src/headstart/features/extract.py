"""extract_features: image files → Features; only contents that are not cached are decoded and run, each once."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.backbones.backbone import Backbone
from headstart.data.batches import pixel_batches
from headstart.data.images import ImageRules
from headstart.engines.choose import Engine
from headstart.errors import BackboneError, DataError, RunError
from headstart.features.cache import READER, FeatureCache, FeatureStore
from headstart.features.features_file import create_file, scratch_matrix, seal_file
from headstart.features.matrix import Features, Rows
from headstart.progress import OnProgress, no_progress
from headstart.wording import counted

Forward = Callable[[torch.Tensor], torch.Tensor]
"""N×3×S×S float pixels → N×D features of all stages."""

_IN_MEMORY = 256_000_000  # bytes of a matrix that nobody keeps: 50,000 images at D = 1,280
_SHARD_ROWS = 2048  # rows of one cache file
_SHARD_SECONDS = 30.0  # at most this much work is lost when the process is killed


@dataclass(frozen=True)
class Extraction:
    """The work of an extraction: rows found in the cache, rows computed, seconds."""

    cached: int
    computed: int
    seconds: float

    @property
    def images_per_second(self) -> float:
        """Computed images per second of wall-clock time; 0 when nothing had to be computed."""
        return self.computed / self.seconds if self.computed else 0.0


@dataclass(frozen=True)
class ImageFiles:
    """The images to extract: N paths, encoded bytes or pixels H×W×3, their names for people, their content hashes (of
    pixels, of their values), and how files are opened.
    """

    paths: tuple[Path | bytes | NDArray[np.uint8], ...]
    names: tuple[str, ...]
    contents: tuple[str, ...]
    rules: ImageRules


def open_store(cache: FeatureCache, backbone: Backbone, rules: ImageRules) -> FeatureStore:
    """The cache's store for this backbone, weights, preprocessing, precision, flip TTA and rules for opening images."""
    about = {
        "backbone": backbone.spec.name,
        "weights": backbone.fingerprint,
        "preprocess": json.dumps(backbone.preprocess.to_dict(), sort_keys=True),
        "stages": ",".join(backbone.stages),
        "background": ",".join(map(str, rules.background)),
        "bit_depth": str(rules.bit_depth),
        "dtype": "float32" if backbone.low_precision is None else backbone.low_precision.name,
        "reader": READER,
    }
    return cache.open(about if backbone.flip_tta is None else about | {"flip_tta": backbone.flip_tta.name})


# four values that every extraction joins, and four with defaults
def extract_features(
    files: ImageFiles,
    backbone: Backbone,
    engine: Engine,
    store: FeatureStore,
    *,
    into: Path | None = None,
    batch_size: int = 32,
    workers: int = 1,
    progress: OnProgress = no_progress,
) -> tuple[Features, Extraction]:
    """Features of all images; only contents that the store does not have are decoded and run, each once.

    Args:
        files: N readable images.
        engine: runs the network; pixels go to its device as bytes, a quarter of what it takes; normalised there.
        into: a file to hold the matrix; None keeps a small one in memory, a large one in a file that nobody sees.
        progress: called with (images done, images to do).

    Raises:
        DataError: an image can no longer be read, or was changed since its content was hashed.
        BackboneError: the network gives NaN or infinity for an image.
    """
    began = time.perf_counter()
    missing = list({content: i for i, content in enumerate(files.contents) if content not in store}.values())
    cached = len(files.contents) - len(missing)
    run = _Pass(
        files=files,
        backbone=backbone,
        engine=engine,
        store=store,
        batch_size=batch_size,
        workers=workers,
        progress=progress,
    )
    run.compute(missing)
    slices = {stage: (columns.start, columns.stop) for stage, columns in backbone.slices.items()}
    count, width = len(files.paths), sum(backbone.widths)
    if into is not None:
        matrix = create_file(into, files.names, files.contents, slices=slices)
    elif 4 * count * width > _IN_MEMORY:
        matrix = scratch_matrix(store.folder, count, width)
    else:
        matrix = np.empty((count, width), np.float32)
    features = Features(matrix, slices, files.names, files.contents)
    filled = _fill(features, store)
    if not filled.all():  # a damaged shard was discarded
        run.compute([int(i) for i in np.flatnonzero(~filled)])
        if not _fill(features, store).all():
            raise RunError(expected="a cache that keeps what is written", found="damaged files", where=store.folder)
    if into is not None:
        seal_file(into, matrix)
    return features, Extraction(cached, len(files.contents) - cached, time.perf_counter() - began)


def store_prepared(
    pixels: Sequence[torch.Tensor],
    contents: Sequence[str],
    backbone: Backbone,
    *,
    forward: Forward,
    store: FeatureStore,
) -> None:
    """Compute the features of images that are decoded and prepared already, as one batch, into the store.

    Args:
        pixels: n times 3×S×S uint8, as the backbone's preprocessing makes them. contents: n content hashes.

    Raises:
        RunError: the disk is full.
    """
    with torch.inference_mode():
        rows = forward(backbone.preprocess.normalise(torch.stack(list(pixels)))).cpu().numpy()
    store.add(contents, rows)


def _fill(features: Features, store: FeatureStore) -> NDArray[np.bool_]:
    filled = np.zeros(len(features.contents), dtype=bool)
    for positions, rows in store.read(features.contents):
        _check_finite(rows, [features.names[i] for i in positions])
        features.matrix[positions] = rows
        features.release()
        filled[positions] = True
    return filled


@dataclass(frozen=True)
class _Pass:
    """A forward pass over some images into the store."""

    files: ImageFiles
    backbone: Backbone
    engine: Engine
    store: FeatureStore
    batch_size: int
    workers: int
    progress: OnProgress

    def compute(self, missing: Sequence[int]) -> None:
        """Decode and run the images at these indices."""
        files, preprocess, pending, done = self.files, self.backbone.preprocess, _Pending(self.store), 0
        batches = pixel_batches(
            [files.paths[i] for i in missing],
            preprocess.prepare,
            contents=[files.contents[i] for i in missing],
            rules=files.rules,
            batch_size=self.batch_size,
            workers=self.workers,
        )
        with contextlib.closing(pending), contextlib.closing(batches), torch.inference_mode():
            for batch in batches:
                for position, reason in batch.failures.items():
                    name = files.names[missing[position]]
                    raise DataError(
                        expected=f"{name} to stay readable and as it was",
                        found=reason,
                        hint="Run again when nothing changes it.",
                    )
                pixels = preprocess.normalise(batch.pixels.to(self.engine.device))
                rows = self.engine.forward(pixels).cpu().numpy()
                _check_finite(rows, [files.names[missing[position]] for position in batch.positions])
                pending.add([files.contents[missing[position]] for position in batch.positions], rows)
                done += len(batch.positions)
                self.progress(done, len(missing))


def _check_finite(rows: Rows, names: Sequence[str]) -> None:
    """Weights may be finite and their products not; nothing that is computed of such features would mean anything."""
    if np.isfinite(np.sum(rows, dtype=np.float64)):  # a twentieth of what looking at each number takes
        return
    wrong = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(wrong):
        raise BackboneError(
            expected="features that are finite numbers",
            found=f"NaN or infinity for {counted(len(wrong), 'image')}, such as {names[wrong[0]]}",
            where="the network",
            hint="Numbers overflow in it: its weights make no sense, so take others with --weights. `headstart doctor` "
            "shows where.",
        )


class _Pending:
    """Rows on their way to the store, in large shards; written at the latest when extraction ends, however it ends."""

    def __init__(self, store: FeatureStore) -> None:
        self.store = store
        self.contents: list[str] = []
        self.rows: list[Rows] = []
        self.since = time.monotonic()

    def add(self, contents: list[str], rows: Rows) -> None:
        self.contents += contents
        self.rows.append(rows)
        if len(self.contents) >= _SHARD_ROWS or time.monotonic() - self.since > _SHARD_SECONDS:
            self.close()

    def close(self) -> None:
        if self.contents:
            self.store.add(self.contents, np.concatenate(self.rows))
        self.contents, self.rows, self.since = [], [], time.monotonic()
