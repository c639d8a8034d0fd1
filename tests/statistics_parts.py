"""Features in shards, whose statistics any engine must give as they are computed here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from headstart.distributed.jobs import Layout, Rows, StatisticsJob
from headstart.distributed.shard_files import ShardFiles
from headstart.heads.ridge import indicators
from headstart.heads.sufficient_statistics import fold_statistics, merge_folds

COUNT, WIDTH, CLASSES, FOLDS = 600, 24, 3, 5


def check_statistics(engine: Any, folder: Path) -> None:
    """The statistics of 13 shards by an engine equal those of all rows at once, to 1e-12."""
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(COUNT, WIDTH)).astype(np.float32)
    labels, folds = rng.integers(0, CLASSES, COUNT), rng.integers(0, FOLDS, COUNT)
    layout, files = Layout({"one": (0, 10), "two": (10, WIDTH)}, ("one", "two"), CLASSES), ShardFiles(folder, {})
    bundles = []
    for number, rows in enumerate(np.array_split(rng.permutation(COUNT), 13)):
        column = pa.FixedSizeListArray.from_arrays(pa.array(matrix[rows].ravel()), WIDTH)
        path = files.write(str(number), [pa.table({"features": column})])
        at = np.arange(len(rows))
        bundles.append((Rows(path, at, labels[rows], rows, folds[rows], np.ones(len(rows)), rows),))

    found = dict(engine.map(StatisticsJob(layout, FOLDS), bundles))

    merged = merge_folds(found[i] for i in range(13))
    halves = [matrix[:, :10].astype(np.float64), matrix[:, 10:].astype(np.float64)]
    x = np.concatenate([half / np.linalg.norm(half, axis=1, keepdims=True) for half in halves], axis=1)
    for mine, reference in zip(
        merged, fold_statistics(x, indicators(labels, CLASSES), folds, count=FOLDS), strict=True
    ):
        np.testing.assert_allclose(mine.gram, reference.gram, atol=1e-12)
        np.testing.assert_allclose(mine.cross, reference.cross, atol=1e-12)
        np.testing.assert_allclose(mine.mean, reference.mean, atol=1e-12)
        assert mine.count == reference.count
