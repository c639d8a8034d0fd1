"""Columns of a Parquet file are found by their words or named, their values mean what those of a csv mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headstart.distributed.parquet_columns import ParquetColumns, find_parquet_columns
from headstart.errors import DataError
from headstart.source_layout import AUTO, SourceLayout


def columns_of(file: Path, columns: dict[str, Any], layout: SourceLayout = AUTO, **metadata: Any) -> ParquetColumns:
    table = pa.table(columns)
    if metadata:
        table = table.replace_schema_metadata({"huggingface": json.dumps(metadata)})
    pq.write_table(table, file)
    return find_parquet_columns(pq.ParquetFile(file), layout, str(file), labelled=True)


def test_columns_that_are_not_used_and_groups_are_said(tmp_path: Path) -> None:
    values = {"Image Path": ["a.png", "b.png"], "Class Name": ["x", "y"], "patient": [1, 2], "age": [3, 4]}
    found = columns_of(tmp_path / "t.parquet", values)
    assert found.columns == {"path": "Image Path", "label": "Class Name", "group": "patient"}
    said = {one.kind: one.message for one in found.findings}
    assert said["unused-columns"] == "Column not used: age."
    assert "patient" in said["table-groups"]
    named = columns_of(tmp_path / "t.parquet", values, SourceLayout(group_by="age"))
    assert named.columns["group"] == "age"
    with pytest.raises(DataError, match="a column 'agee'"):
        columns_of(tmp_path / "t.parquet", values, SourceLayout(group_by="agee"))
    pattern = columns_of(tmp_path / "t.parquet", values, SourceLayout(group_by="(a)"))
    assert pattern.columns["group"] == "patient"


@pytest.mark.parametrize(
    ("header", "values", "expected"),
    [("is_valid", [True, False], {"True": "validation", "False": "train"}), ("Usage", ["Training", "PublicTest"],
      {"Training": "train", "PublicTest": "test"}), ("split", ["train", "tset"], {"train": "train"}),
     ("fold", [0, 1], None), ("partition", [0, 1], None), ("val", [0.5, 0.7], None)],
)  # fmt: skip
def test_splits_are_those_of_a_csv(tmp_path: Path, header: str, values: list[Any], expected: object) -> None:
    found = columns_of(tmp_path / "t.parquet", {"path": ["a", "b"], "label": ["x", "y"], header: values})
    assert found.columns.get("split") == (None if expected is None else header)
    assert found.splits == (expected or {})
    if expected is None:
        (finding,) = found.findings
        assert f"--split-column {header}=VALUE" in finding.message


def test_one_value_of_a_column_may_be_the_test_split(tmp_path: Path) -> None:
    values = {"path": ["a", "b", "c"], "label": ["x", "y", "x"], "fold": [0, 1, 2]}
    found = columns_of(tmp_path / "t.parquet", values, SourceLayout(split_column="fold=1"))
    assert found.splits == {"0": "train", "1": "test", "2": "train"}
    for wrong, words in (("fold=7", "rows whose fold is '7'"), ("fold", "train, validation or test")):
        with pytest.raises(DataError, match=words):
            columns_of(tmp_path / "t.parquet", values, SourceLayout(split_column=wrong))


def test_the_hub_names_classes_and_images(tmp_path: Path) -> None:
    images = [{"bytes": b"1", "path": "cat/1.jpg"}, {"bytes": b"2", "path": "dog/1.jpg"}]
    names = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    found = columns_of(tmp_path / "t.parquet", {"image": images, "label": [0, 1]}, **names)
    assert found.classes == ("cat", "dog")
    assert found.columns == {"bytes": "image.bytes", "inside": "image.path", "label": "label"}
    same = [{**one, "path": "1.jpg"} for one in images]
    assert "inside" not in columns_of(tmp_path / "t.parquet", {"image": same, "label": [0, 1]}).columns
    for odd in ({"info": {"features": []}}, {"info": {"features": {"label": {"names": ["cat", "cat"]}}}}):
        assert columns_of(tmp_path / "t.parquet", {"image": images, "label": [0, 1]}, **odd).classes == ()
    assert columns_of(tmp_path / "t.parquet", {"image": images, "label": ["cat", "dog"]}, **names).classes == ()
