"""How the head's time and memory grow with the rows: synthetic features in shards, solved by worker processes.

    python benchmarks/scale.py [--rows 20000,200000] [--width 768] [--processes 2] [--held-out left-out|folds]

Prints seconds of the whole fit, and the largest memory of this process and of each worker.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from headstart.distributed.engine import Cluster
from headstart.distributed.jobs import Layout, Rows
from headstart.distributed.probe import ShardedRows, fit_from_shards
from headstart.distributed.shard_files import ShardFiles
from headstart.heads.sufficient_statistics import fold_of

SHARD_ROWS, CLASSES = 2_000, 10


def made_rows(folder: Path, count: int, width: int) -> tuple[Rows, ...]:
    """Noisy clusters in shards on disk, one after another, so that memory stays flat."""
    files, found = ShardFiles(folder, {"rows": count, "width": width}), []
    centres = np.random.default_rng(0).normal(size=(CLASSES, width))
    for begin in range(0, count, SHARD_ROWS):
        rng = np.random.default_rng(begin)
        labels = rng.integers(0, CLASSES, SHARD_ROWS)
        matrix = (centres[labels] + 4 * rng.normal(size=(SHARD_ROWS, width))).astype(np.float32)
        column = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), width)
        path = files.write(str(begin), [pa.table({"features": column})])
        groups = np.arange(begin, begin + SHARD_ROWS)
        folds = np.array([fold_of(str(group)) for group in groups], dtype=np.int64)
        found.append(
            Rows(path, np.arange(SHARD_ROWS), labels, groups, folds=folds, weights=np.ones(SHARD_ROWS), images=groups)
        )
    return tuple(found)


def measure(count: int, width: int, *, processes: int, held_out: str) -> dict[str, float]:
    """Seconds and megabytes of one fit; to be called in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        rows = made_rows(Path(folder), count, width)
        with Cluster(processes=processes).start() as engine:
            list(engine.map(_Nothing(), list(range(processes))))  # workers have imported torch
            began = time.perf_counter()
            data = ShardedRows(Layout({"one": (0, width)}, ("one",), CLASSES), rows)
            probe = fit_from_shards(engine, data, layers="one", held_out=held_out, progress=lambda done, total: None)
            seconds = time.perf_counter() - began
    here, there = (resource.getrusage(who).ru_maxrss / 1e3 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {
        "rows": count,
        "seconds": seconds,
        "MB here": here,
        "MB of a worker": there,
        "accuracy": probe.path.accuracy,
    }


class _Nothing:
    def make(self) -> type[int]:
        return int


def main() -> None:
    """Measure each number of rows in a process of its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", default="20000,200000")
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--held-out", default="left-out")
    parser.add_argument("--one", type=int)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one, given.width, processes=given.processes, held_out=given.held_out)))
        return
    found = []
    for count in map(int, given.rows.split(",")):
        line = subprocess.run(
            [sys.executable, *sys.argv, "--one", str(count)], capture_output=True, text=True, check=True
        )
        found.append(json.loads(line.stdout.splitlines()[-1]))
        print({name: round(value, 3) for name, value in found[-1].items()}, flush=True)
    first, last = found[0], found[-1]
    print(f"seconds per row: {last['seconds'] / last['rows'] / (first['seconds'] / first['rows']):.2f} of the first's")


if __name__ == "__main__":
    main()
