"""The dataset from shards equals that of one machine, and images of tables get files when they are shown."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from headstart.data.images import ImageRules
from headstart.distributed import sharded_dataset as module
from headstart.distributed.jobs import ShardWork
from headstart.distributed.run_shards import run_shards
from headstart.distributed.shard_files import ShardFiles
from headstart.distributed.sharded_dataset import ShardedDataset, sharded_dataset
from headstart.distributed.sources import find_shards
from headstart.errors import DataError
from headstart.recipe import Recipe
from headstart.source_layout import AUTO
from headstart.workbench.session import Session
from laid_shards import InlineEngine, rows_of, write_parquet
from mutated_images import whole_file


def dataset_of(source: Path, folder: Path) -> ShardedDataset:
    found, files = find_shards(str(source), AUTO, unpack_into=folder), ShardFiles(folder, {})
    tables = run_shards(
        InlineEngine(), found, ShardWork("audit", ImageRules()), files, max_bad_share=1, progress=lambda a, b: None
    ).tables
    return sharded_dataset(found, tables, Recipe(), rules=ImageRules(), folder=files.folder)


def with_duplicates(photos: Path, folder: Path) -> Path:
    import shutil

    from PIL import Image

    tree = shutil.copytree(photos, folder / "tree")
    first = sorted(tree.rglob("*.png"))[0]
    shutil.copy(first, first.with_name("exact.png"))
    Image.open(first).convert("RGB").save(first.with_name("near.jpg"), quality=90)
    (first.parent / "broken.png").write_bytes(b"\x89PNG broken")
    whole = whole_file("bmp", 1)
    (first.parent / "zeros.bmp").write_bytes(whole[: len(whole) // 2] + bytes(len(whole) // 2))
    return tree


@pytest.mark.slow
def test_a_tree_in_shards_is_the_dataset_of_one_machine(photos: Path, tmp_path: Path) -> None:
    tree = with_duplicates(photos, tmp_path)
    mine, reference = dataset_of(tree, tmp_path / "shards").dataset, Session().dataset(tree)
    assert mine.samples == reference.samples
    assert mine.facts == reference.facts
    assert any(fact.suspicion for fact in mine.facts)
    assert mine.audit == reference.audit
    assert len(mine.duplicate_groups) == 1
    split = mine.with_split(0.2, 0), reference.with_split(0.2, 0)
    assert split[0].splits == split[1].splits
    assert split[0].fingerprint() == split[1].fingerprint()


@pytest.mark.slow
def test_images_of_a_table_are_audited_and_get_files_when_shown(photos: Path, tmp_path: Path) -> None:
    rows = rows_of(with_duplicates(photos, tmp_path))
    file = write_parquet(tmp_path / "photos.parquet", [{**row, "id": row["name"]} for row in rows], per_group=16)
    sharded = dataset_of(file, tmp_path / "shards")
    dataset = sharded.dataset
    (group,) = dataset.duplicate_groups
    assert len(group) == 3
    assert not dataset.samples[0].path.exists()

    sharded.write_files([0, 40])

    by_name = {row["name"]: row["bytes"] for row in rows}
    for i in (0, 40):
        assert dataset.samples[i].path.read_bytes() == by_name[dataset.samples[i].name]
    assert not dataset.samples[1].path.exists()
    np.testing.assert_array_equal(np.unique(sharded.shard), np.arange(4))
    some = sharded.of(dataset.subset([5, 3]))
    assert some.shard.tolist() == sharded.shard[[5, 3]].tolist()
    assert some.row.tolist() == sharded.row[[5, 3]].tolist()


def test_a_file_without_a_suffix_has_the_note_of_one_machine(photos: Path, tmp_path: Path) -> None:
    tree = shutil.copytree(photos, tmp_path / "tree")
    first = next(iter(sorted(tree.rglob("*.png"))))
    first.rename(first.with_suffix(""))
    mine, reference = dataset_of(tree, tmp_path / "shards").dataset, Session().dataset(tree)
    assert mine.facts == reference.facts
    assert any("suffix" in note for fact in mine.facts for note in fact.notes)


def test_beyond_a_bound_near_duplicates_are_not_searched_and_that_is_said(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "NEAR_DUPLICATES", 10)
    dataset = dataset_of(with_duplicates(photos, tmp_path), tmp_path / "shards").dataset
    (group,) = dataset.duplicate_groups
    assert len(group) == 2
    assert [finding.kind for finding in dataset.audit.findings].count("near-duplicates-not-searched") == 1


def test_names_that_are_not_unique_and_single_classes_are_refused(photos: Path, tmp_path: Path) -> None:
    rows = rows_of(photos)[:8]
    twice = write_parquet(tmp_path / "twice.parquet", [{**row, "name": "same"} for row in rows])
    with pytest.raises(DataError, match="a name for each image"):
        dataset_of(twice, tmp_path / "a")
    with pytest.raises(DataError, match="at least 2 classes"):
        dataset_of(write_parquet(tmp_path / "one.parquet", rows), tmp_path / "b")
