"""What a user names becomes shards: the same images from a class tree, Parquet files and tars."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from headstart.distributed.shard import FileShard, ImageRow
from headstart.distributed.sources import ShardedSource, cut, find_shards
from headstart.errors import DataError
from headstart.source_layout import AUTO, SourceLayout
from laid_shards import RED_PNG, rows_of, write_parquet, write_tar


def found_in(source: Path | str, tmp_path: Path, layout: SourceLayout = AUTO) -> ShardedSource:
    return find_shards(str(source), layout, unpack_into=tmp_path / "unpacked")


def images_of(source: ShardedSource) -> list[tuple[bytes, str]]:
    rows = [row for shard in source.shards for table in shard.tables() for row in table.to_pylist()]
    return sorted((row["bytes"], row["label"]) for row in rows)


def test_a_tree_a_folder_of_parquet_and_tars_give_the_same_images(photos: Path, tmp_path: Path) -> None:
    rows = rows_of(photos)
    write_parquet(tmp_path / "table" / "1.parquet", rows[:30])
    write_parquet(tmp_path / "table" / "2.parquet", rows[30:])
    write_tar(tmp_path / "a.tar", rows[:10])
    write_tar(tmp_path / "b.tar", rows[10:])
    expected = sorted((row["bytes"], row["label"]) for row in rows)

    tree = found_in(photos, tmp_path)
    assert tree.images == 48
    assert tree.classes == ("disc", "square", "stripes")
    assert images_of(tree) == expected
    table = found_in(tmp_path / "table", tmp_path)
    assert [shard.images for shard in table.shards] == [20, 10, 18]
    assert images_of(table) == expected
    tars = found_in(str(tmp_path / "*.tar"), tmp_path)
    assert tars.images is None
    assert images_of(tars) == expected
    assert images_of(found_in((tmp_path / "table").as_uri(), tmp_path)) == expected  # folders at an address
    (tmp_path / "tars").mkdir()
    shutil.copy(tmp_path / "a.tar", tmp_path / "tars")
    assert len(images_of(found_in((tmp_path / "tars").as_uri(), tmp_path))) == 10
    assert images_of(found_in(tmp_path / "a.tar", tmp_path)) == sorted((r["bytes"], r["label"]) for r in rows[:10])


def test_one_more_file_changes_one_shard(tmp_path: Path) -> None:
    rows = [ImageRow(f"{i}.png", f"/x/{i}.png", "a", None, None, "1") for i in range(3000)]
    before = cut(rows)
    after = cut([*rows, ImageRow("new.png", "/x/new.png", "a", None, None, "1")])
    assert sum(len(shard.rows) for shard in before) == 3000
    assert 10 < len(before) < 60
    assert len({shard.key for shard in after} - {shard.key for shard in before}) <= 2  # it may cut a shard in two
    assert cut(list(reversed(rows))) == before


def test_columns_are_found_by_their_words_or_named(tmp_path: Path) -> None:
    rows = [{"file_name": "a.png", "Class": "x", "subset": "valid", "patient": 7, "other": "y"}]
    (tmp_path / "a.png").write_bytes(RED_PNG)
    file = write_parquet(tmp_path / "t.parquet", rows)
    (shard,) = found_in(file, tmp_path).shards
    (row,) = next(shard.tables()).to_pylist()
    assert (row["name"], row["label"], row["split"], row["group"]) == ("a.png", "x", "validation", "7")
    (shard,) = found_in(file, tmp_path, SourceLayout(label_column="other")).shards
    assert next(shard.tables()).to_pylist()[0]["label"] == "y"
    with pytest.raises(DataError, match="a column 'gone'"):
        found_in(file, tmp_path, SourceLayout(label_column="gone"))


@pytest.mark.parametrize(
    ("rows", "words"),
    [([{"label": "x"}], "a column of images"), ([{"path": "x.png"}], "a column `label`"),
     ([{"image": 3, "label": "x"}], "a column of images")],
)  # fmt: skip
def test_a_table_without_images_or_labels_is_refused(tmp_path: Path, rows: list[dict[str, str]], words: str) -> None:
    with pytest.raises(DataError, match=words):
        found_in(write_parquet(tmp_path / "t.parquet", rows), tmp_path)


def test_what_is_no_source_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(b"no table")
    with pytest.raises(DataError, match="a Parquet file"):
        found_in(tmp_path / "t.parquet", tmp_path)
    (tmp_path / "folder of photos").mkdir()
    (tmp_path / "folder of photos" / "a.png").write_bytes(RED_PNG)
    with pytest.raises(DataError, match="Parquet files or tars at an address"):
        found_in((tmp_path / "folder of photos").as_uri(), tmp_path)
    with pytest.raises(DataError):
        found_in(tmp_path / "gone", tmp_path)


def test_an_archive_of_class_folders_is_no_webdataset(photos: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "photos"), "tar", photos)
    found = found_in(archive, tmp_path)
    assert all(isinstance(shard, FileShard) for shard in found.shards)
    assert found.images == 48
