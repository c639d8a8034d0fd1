"""Shards are computed once, bad images are listed, and too many of them stop the job."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from headstart.data.images import ImageRules
from headstart.distributed.jobs import ShardWork
from headstart.distributed.run_shards import BAD, ShardTables, run_shards, write_bad
from headstart.distributed.shard_files import ShardFiles
from headstart.distributed.sources import ShardedSource, find_shards
from headstart.errors import DataError
from headstart.source_layout import AUTO
from laid_shards import InlineEngine, rows_of, write_parquet


def source_with_bad(photos: Path, folder: Path, bad: int) -> ShardedSource:
    rows = rows_of(photos)
    for row in rows[:bad]:
        row["bytes"] = b"no image"
    file = write_parquet(folder / "photos.parquet", rows, per_group=10)
    return find_shards(str(file), AUTO, unpack_into=folder)


def run(source: ShardedSource, folder: Path, engine: InlineEngine, most: float = 0.05) -> ShardTables:
    files = ShardFiles(folder, {})
    work = ShardWork("audit", ImageRules())
    return run_shards(engine, source, work, files, max_bad_share=most, progress=lambda done, total: None)


def test_a_second_run_computes_what_is_missing(photos: Path, tmp_path: Path) -> None:
    source = source_with_bad(photos, tmp_path, 2)
    first = run(source, tmp_path / "shards", InlineEngine())
    assert (first.images, first.resumed) == (48, 0)
    assert sorted(first.bad) == ["photos.parquet#0", "photos.parquet#1"] or len(first.bad) == 2
    ShardFiles(tmp_path / "shards", {}).path(source.shards[3].key).unlink()
    engine = InlineEngine()
    second = run(source, tmp_path / "shards", engine)
    assert (engine.items, second.resumed) == (1, 38)
    assert second.bad == first.bad
    assert all(mine.equals(reference) for mine, reference in zip(second.tables, first.tables, strict=True))


def test_more_bad_images_than_allowed_stop_the_job_and_are_listed(photos: Path, tmp_path: Path) -> None:
    source = source_with_bad(photos, tmp_path, 3)
    with pytest.raises(DataError, match=r"at most 5\s% of the images.*found 3 of 48.*bad\.parquet") as caught:
        run(source, tmp_path / "shards", InlineEngine())
    (listed,) = (tmp_path / "shards").rglob(BAD)
    assert str(listed) in caught.value.hint
    assert pq.read_table(listed).num_rows == 3
    assert run(source, tmp_path / "shards", InlineEngine(), most=0.1).images == 48


def test_the_table_of_bad_images_has_their_reasons(tmp_path: Path) -> None:
    path = write_bad(tmp_path / BAD, {"a.png": "it is empty"})
    assert pq.read_table(path).to_pylist() == [{"name": "a.png", "reason": "it is empty"}]
