"""Shards give the same images in the same order, in tables of bounded size, and a key that changes with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from headstart.distributed.remote import identity
from headstart.distributed.shard import RECORDS, ROWS, FileShard, ImageRow, ParquetShard, Shard, TarShard
from headstart.errors import DataError
from laid_shards import RED_PNG, rows_of, write_parquet, write_tar


def listed(shard: Shard) -> list[dict[str, object]]:
    tables = list(shard.tables())
    assert all(table.schema == ROWS for table in tables)
    return [row for table in tables for row in table.to_pylist()]


def test_files_are_read_when_their_table_is_made(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(RED_PNG)
    rows = tuple(ImageRow(f"{i}.png", str(tmp_path / "a.png"), "red", "g", "train", "1") for i in range(RECORDS + 1))
    gone = ImageRow("gone.png", str(tmp_path / "gone.png"), "red", None, None, "2")
    shard = FileShard((*rows, gone))

    assert [len(table) for table in shard.tables()] == [RECORDS, 2]
    *found, missing = listed(shard)
    assert found[0] == {
        "name": "0.png",
        "bytes": RED_PNG,
        "reason": None,
        "label": "red",
        "group": "g",
        "split": "train",
    }
    assert missing["bytes"] is None
    assert "No such file" in str(missing["reason"])
    assert shard.images == RECORDS + 2


def test_the_key_changes_with_label_and_content(tmp_path: Path) -> None:
    row = ImageRow("a.png", "/x/a.png", "red", None, None, "1")
    keys = {FileShard((one,)).key for one in (row, replace(row, label="blue"), replace(row, identity="2"))}
    assert len(keys) == 3
    assert FileShard((row,)).key == FileShard((replace(row),)).key


def test_a_row_group_gives_bytes_and_paths(photos: Path, tmp_path: Path) -> None:
    rows = rows_of(photos)[:6]
    file = write_parquet(tmp_path / "photos.parquet", [{**row, "part": "trn"} for row in rows], per_group=4)
    columns = {"bytes": "bytes", "label": "label", "split": "part"}
    shard = ParquetShard(str(file), 1, 4, images=2, columns=columns, splits={"trn": "train"}, identity="1")
    found = listed(shard)
    assert [row["name"] for row in found] == ["photos.parquet#4", "photos.parquet#5"]
    assert [row["bytes"] for row in found] == [row["bytes"] for row in rows[4:]]
    assert {row["split"] for row in found} == {"train"}

    (tmp_path / "one.png").write_bytes(rows[0]["bytes"])
    named = write_parquet(tmp_path / "named.parquet", [{"path": "one.png", "label": 3}, {"path": None, "label": None}])
    shard = ParquetShard(
        str(named), 0, 0, images=2, columns={"path": "path", "label": "label"}, splits={}, identity="1"
    )
    one, none = listed(shard)
    assert (one["name"], one["bytes"], one["label"]) == ("one.png", rows[0]["bytes"], "3")
    assert (none["bytes"], none["reason"], none["label"]) == (None, "no image", None)


def test_a_field_of_a_structure_is_read(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "hub.parquet", [{"image": {"bytes": RED_PNG, "path": "x"}, "label": 1}])
    columns = {"bytes": "image.bytes", "label": "label"}
    (row,) = listed(ParquetShard(str(file), 0, 0, images=1, columns=columns, splits={}, identity="1"))
    assert row["bytes"] == RED_PNG


def test_labels_are_texts_as_in_a_csv(tmp_path: Path) -> None:
    rows = [{"image": {"bytes": RED_PNG, "path": f"{i}.png"}, "label": i - 1, "set": " trn "} for i in range(4)]
    file = write_parquet(tmp_path / "hub.parquet", rows)
    columns = {"bytes": "image.bytes", "inside": "image.path", "label": "label", "split": "set"}
    shard = ParquetShard(str(file), 0, 0, images=4, columns=columns, splits={"trn": "train"}, identity="1",
                         classes=("cat", "dog"))  # fmt: skip
    found = listed(shard)
    assert [row["label"] for row in found] == [None, "cat", "dog", None]
    assert [row["name"] for row in found] == [f"hub.parquet/{i}.png" for i in range(4)]
    assert {row["split"] for row in found} == {"train"}
    assert replace(shard, classes=()).key != shard.key
    for values, texts in (([" cat ", "", None, "e\u0301"], ["cat", None, None, "\u00e9"]), ([b"cat"], ["cat"]),
                          ([1.5, float("nan")], ["1.5", None]), ([True], ["True"])):  # fmt: skip
        file = write_parquet(tmp_path / "t.parquet", [{"bytes": RED_PNG, "label": value} for value in values])
        columns = {"bytes": "bytes", "label": "label"}
        shard = ParquetShard(str(file), 0, 0, images=len(values), columns=columns, splits={}, identity="1")
        assert [row["label"] for row in listed(shard)] == texts


@pytest.mark.parametrize("side", ["cls", "txt", "json"])
def test_a_tar_gives_images_with_the_labels_beside_them(photos: Path, tmp_path: Path, side: str) -> None:
    rows = rows_of(photos)[:5]
    file = write_tar(tmp_path / "photos.tar", rows, side=side)
    found = listed(TarShard(str(file), identity(str(file))))
    assert [row["bytes"] for row in found] == [row["bytes"] for row in rows]
    assert [row["label"] for row in found] == [row["label"] for row in rows]
    assert found[0]["name"] == "photos.tar/00000"


def test_a_cut_off_tar_is_refused_and_one_without_images_is_empty(photos: Path, tmp_path: Path) -> None:
    file = write_tar(tmp_path / "photos.tar", rows_of(photos)[:5])
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(DataError, match=r"whole tar file.*photos\.tar"):
        listed(TarShard(str(file), "1"))
    assert listed(TarShard(str(write_tar(tmp_path / "none.tar", [])), "1")) == []
