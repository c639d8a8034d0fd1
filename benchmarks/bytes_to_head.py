"""headstart over the same photographs: from file bytes to a solved head, each step timed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.backbones.backbone import Backbone
from headstart.data.images import ImageRules
from headstart.engines.choose import choose_engine
from headstart.features.cache import FeatureCache
from headstart.features.extract import ImageFiles, extract_features, open_store
from headstart.features.matrix import Features
from headstart.heads.linear_probe import LinearProbe, TrainingRows, fit_linear_probe
from record import Spent, spending


@dataclass(frozen=True)
class Photographs:
    """What every method trains on: N files in a folder for each class, and the weights to start from."""

    folder: Path
    paths: tuple[Path, ...]
    labels: tuple[int, ...]
    weights: Path


def choose_photographs(data: Path, work: Path, count: int) -> Photographs:
    """The training photographs of hymenoptera, evenly thinned to `count`, as links in a folder of their own."""
    every = sorted((data / "hymenoptera" / "train").glob("*/*"))
    chosen = every if count >= len(every) else [every[i * len(every) // count] for i in range(count)]
    folder = work / "photographs"
    for path in chosen:
        link = folder / path.parent.name / path.name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    paths = tuple(sorted(folder.glob("*/*")))
    names = sorted({path.parent.name for path in paths})
    labels = tuple(names.index(path.parent.name) for path in paths)
    return Photographs(folder, paths, labels, data / "weights" / "resnet18_imagenet.safetensors")


def bytes_to_head(photographs: Photographs, backbone: Backbone, cache: Path, workers: int) -> dict[str, Spent]:
    """Hashes, choice of engine, features and head with its layer choices; the cache must be empty to begin with."""
    row, names = backbone.spec, tuple(path.name for path in photographs.paths)
    with spending() as whole:
        with spending() as hashing:
            contents = tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in photographs.paths)
        with spending() as choosing:
            engine = choose_engine(backbone, waiting=len(contents), cache_folder=cache)
        with spending() as extracting:
            files = ImageFiles(photographs.paths, names, contents, ImageRules())
            store = open_store(FeatureCache(cache / "features", 1e10), backbone, files.rules)
            features, found = extract_features(files, backbone, engine, store, workers=workers)
        with spending() as solving:
            layers = {word: row.choose_stages(word) for word in ("auto", "pooled", "all")}
            solve(features, np.array(photographs.labels), layers)
    if found.cached:
        raise RuntimeError("the cache was not empty: nothing was measured")
    print(f"… engine {engine.name}: {engine.reason}", flush=True)
    return {"whole": whole, "hash": hashing, "engine": choosing, "features": extracting, "head": solving}


def solve(features: Features, labels: NDArray[np.int64], layers: Mapping[str, tuple[str, ...]]) -> LinearProbe:
    """The head on all rows, every image a group of its own."""
    rows, none = np.arange(len(labels)), np.array([], dtype=np.int64)
    training = TrainingRows(
        rows=rows,
        labels=labels[rows],
        groups=rows,
        classes=int(labels.max()) + 1,
        validation_rows=none,
        validation_labels=none,
    )
    return fit_linear_probe(features, training, layers=layers)


def made_features(n: int, width: int, classes: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Noise around one centre for each class: n×width, and the labels."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, n)
    centres = rng.normal(size=(classes, width))
    return (centres[labels] * 0.2 + rng.normal(size=(n, width))).astype(np.float32), labels.astype(np.int64)


def mean(values: Sequence[float]) -> float:
    """Their mean."""
    return float(np.mean(values))
