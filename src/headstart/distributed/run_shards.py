"""Run work over the shards of a source: what is there stays, what is missing is computed, and too many bad images stop.

In: a source, the work, an engine. Out: the table of each shard, mapped from disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from headstart.distributed.engine import Engine
from headstart.distributed.jobs import ShardJob, ShardWork, result_of
from headstart.distributed.shard_files import ShardFiles
from headstart.distributed.sources import ShardedSource
from headstart.errors import DataError, RunError
from headstart.files import atomic_write, make_folder, printable
from headstart.progress import OnProgress

BAD = "bad.parquet"
_NAMED = 3  # bad images in an error


@dataclass(frozen=True)
class ShardTables:
    """The results of all shards, in their order, and what was found there before.

    Args:
        bad: name → reason of images that could not be read. resumed: images of shards that were there already.
    """

    tables: tuple[pa.Table, ...]
    bad: dict[str, str]
    images: int
    resumed: int


def run_shards(
    engine: Engine,
    source: ShardedSource,
    work: ShardWork,
    files: ShardFiles,
    *,
    max_bad_share: float,
    progress: OnProgress,
) -> ShardTables:  # six: what is done, where, and to what
    """Do the work on every shard whose result is not there.

    Args:
        max_bad_share: of all images; above it the job stops as soon as that is certain.
        progress: called with (images done, images to do).

    Raises:
        DataError: more images cannot be read; they are listed in `bad.parquet` beside the results.
        RunError: results are gone as soon as they are written, or workers die.
    """
    counting = _Counting(source, files.folder, max_bad_share, progress)
    missing = []
    for number, shard in enumerate(source.shards):
        table = files.read(shard.key, ["name", "error"])
        if table is None:
            missing.append(number)
        else:
            counting.add(*_counts(table))
    resumed = counting.images
    for _, result in engine.map(ShardJob(work, files), [source.shards[number] for number in missing]):
        counting.add(result.images, dict(result.bad))
    counting.check(counting.images)
    tables = [files.read(shard.key) for shard in source.shards]
    whole = tuple(table for table in tables if table is not None)
    if len(whole) != len(tables):
        raise RunError(
            expected="results of shards that stay where workers write them",
            found=f"{len(tables) - len(whole)} of {len(tables)} missing here",
            where=files.folder,
            hint="Give a folder that this machine and all workers share: --shards FOLDER.",
        )
    if not counting.images:
        raise DataError(expected="images", found="none", where=source.name)
    return ShardTables(whole, counting.bad, counting.images, resumed)


def write_bad(path: Path, bad: dict[str, str]) -> Path:
    """Write the table of images that could not be read: name and reason.

    Raises:
        RunError: it cannot be written there.
    """
    with atomic_write(path) as part:
        pq.write_table(pa.table({"name": [printable(name) for name in bad], "reason": list(bad.values())}), part)
    return path


def _counts(table: pa.Table) -> tuple[int, dict[str, str]]:
    found = result_of(table)
    return found.images, dict(found.bad)


class _Counting:
    """Counts images and bad ones while shards come in, and stops when the bad ones are too many."""

    def __init__(
        self, source: ShardedSource, folder: Path, max_bad_share: float, progress: OnProgress
    ) -> None:  # four, each for one sentence
        self.source, self.folder, self.most, self.progress = source, folder, max_bad_share, progress
        self.images = 0
        self.bad: dict[str, str] = {}

    def add(self, images: int, bad: dict[str, str]) -> None:
        self.images += images
        self.bad |= bad
        total = self.source.images
        self.progress(self.images, max(total or 0, self.images))
        if total is not None:
            self.check(total)

    def check(self, total: int) -> None:
        if len(self.bad) <= self.most * total:
            return
        make_folder(self.folder)
        path = write_bad(self.folder / BAD, self.bad)
        named = "; ".join(f"{name}: {reason}" for name, reason in list(self.bad.items())[:_NAMED])
        raise DataError(
            expected=f"at most {self.most * 100:.0f}\u00a0% of the images to be unreadable",
            found=f"{len(self.bad):,} of {total:,} ({named})",
            where=self.source.name,
            hint=f"All that were found are in {path}. Check these; --max-bad-share allows more.",
        )
