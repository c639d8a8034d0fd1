"""Files around predictions: class names stay inside their folder, and only paths count as files."""

from __future__ import annotations

import csv
import dataclasses
import errno
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

import headstart as hs
from headstart.classifier.predictions import TRUST, Prediction
from headstart.errors import DataError, RecipeError, RunError
from headstart.workbench.prediction_files import (
    _folder_name,
    expand,
    files_of,
    sort_images,
    tables_of,
    with_archive_names,
    write_predictions,
)


@pytest.mark.parametrize("label", ["../up", "/etc", "a/b", "..", "con:1", "x\ny", " "])
def test_a_class_name_never_leaves_the_folder(label: str, tmp_path: Path) -> None:
    name = _folder_name(label)

    assert (tmp_path / name).resolve().parent == tmp_path.resolve()
    assert name.isprintable()
    assert name


def test_files_keep_their_order_and_folders_become_their_images(photos: Path) -> None:
    one = sorted((photos / "stripes").iterdir())[3]

    assert files_of(one, {}) == [one]
    assert files_of([str(one), photos / "disc"], {}) == [one, *sorted((photos / "disc").iterdir())]


@pytest.mark.parametrize("image", [b"bytes", "http://127.0.0.1/x.png", 3])
def test_what_is_no_path_is_refused(image: object) -> None:
    with pytest.raises(DataError, match="on this machine"):
        files_of([image], {})


def test_a_table_in_a_missing_folder_is_refused(tmp_path: Path) -> None:
    assert tables_of(tmp_path / "t.csv", None, None) == {tmp_path / "t.csv": "csv"}
    with pytest.raises(RunError, match="no such folder"):
        tables_of(tmp_path / "nowhere" / "t.csv", None, None)


def test_the_format_is_that_of_the_name_unless_it_is_given() -> None:
    assert tables_of(None, "a.JSON", None) == {Path("a.JSON"): "json"}
    assert tables_of(None, "a.txt", "csv") == {Path("a.txt"): "csv"}
    assert tables_of("b.csv", None, "json") == {Path("b.csv"): "csv", Path("predictions.json"): "json"}
    assert tables_of(None, None, None) == {}
    for out, kind in ((None, "jsn"), ("a.xlsx", None), ("a", None)):
        with pytest.raises(RecipeError, match="csv, json, parquet"):
            tables_of(None, out, kind)


def test_parquet_without_pyarrow_is_said_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RunError, match=r"headstart\[parquet\]"):
        tables_of(None, "a.parquet", None)


SOME = (
    Prediction("=a.jpg", "cat", 0.75, {"cat": 0.75, "dog": 0.25}),
    Prediction("b.jpg", None, 0.0, {}, error="empty"),
)


def test_json_is_a_list_of_records_with_numbers_and_nulls(tmp_path: Path) -> None:
    write_predictions(tmp_path / "p.json", SOME, ("cat", "dog"), kind="json")

    first, second = json.loads((tmp_path / "p.json").read_text("utf-8"))
    assert first == {
        "path": "=a.jpg", "predicted": "cat", "probability": 0.75, "p(cat)": 0.75, "p(dog)": 0.25,
        "error": None, "damaged": None, **dict.fromkeys(TRUST),
    }  # fmt: skip
    assert second["error"] == "empty"
    assert second["predicted"] is second["probability"] is second["p(cat)"] is None


DOUBTED = Prediction(
    "c.jpg", None, 0.5, {"cat": 0.5, "dog": 0.5}, familiar=False, familiarity_percentile=1.25,
    nearest_image="=cat/1.jpg", prediction_set=("cat", "dog"), atypical=False, rejected="unlike the training images",
)  # fmt: skip


def test_a_rejected_answer_keeps_its_row_without_a_class_and_with_its_reason(tmp_path: Path) -> None:
    write_predictions(tmp_path / "p.csv", [DOUBTED], ("cat", "dog"))
    write_predictions(tmp_path / "p.json", [DOUBTED], ("cat", "dog"), kind="json")

    (row,) = csv.DictReader((tmp_path / "p.csv").read_text("utf-8-sig").splitlines())
    (record,) = json.loads((tmp_path / "p.json").read_text("utf-8"))
    assert row["predicted"] == row["probability"] == row["error"] == ""
    assert [row[name] for name in TRUST] == [
        "no", "1.25", "'=cat/1.jpg", "cat | dog", "no", "unlike the training images",
    ]  # fmt: skip
    assert row["p(cat)"] == "0.500000"
    assert record["predicted"] is record["probability"] is None
    assert record["prediction_set"] == ["cat", "dog"]


def test_images_with_rejected_answers_are_sorted_into_a_folder_of_their_own(photos: Path, tmp_path: Path) -> None:
    image = next(photos.rglob("*.png"))

    sort_images([dataclasses.replace(DOUBTED, name=str(image))], tmp_path / "sorted")

    assert [path.parent.name for path in (tmp_path / "sorted").rglob("*.png")] == ["_rejected"]


def test_parquet_has_typed_columns_even_where_all_are_null(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")

    write_predictions(tmp_path / "p.parquet", SOME, ("cat", "dog"), kind="parquet")

    table = parquet.read_table(tmp_path / "p.parquet")
    assert table.column("p(dog)").to_pylist() == [0.25, None]
    assert [str(table.schema.field(name).type) for name in ("probability", "damaged")] == ["double", "string"]
    assert [path.name for path in tmp_path.iterdir()] == ["p.parquet"]


def test_parquet_takes_names_that_are_not_utf_8(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    odd = [dataclasses.replace(SOME[0], name="photos-\udcff/1.jpg")]
    folder = tmp_path / "tables-\udcff"
    try:
        folder.mkdir()
    except (OSError, ValueError):
        folder = tmp_path  # a system whose names are Unicode

    write_predictions(folder / "p.parquet", odd, ("cat", "dog"), kind="parquet")

    with (folder / "p.parquet").open("rb") as file:
        assert parquet.read_table(file).column("path").to_pylist() == ["photos-\\udcff/1.jpg"]


def test_all_images_are_sorted_or_none(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some = [Prediction(str(path), "cat", 1.0, {"cat": 1.0}) for path in sorted(photos.rglob("*.png"))[:3]]
    copied = list[object]()

    def copy(source: Path, target: Path) -> None:
        copied.append(source)
        if len(copied) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        target.write_bytes(source.read_bytes())

    with monkeypatch.context() as patch:
        patch.setattr("shutil.copyfile", copy)
        with pytest.raises(RunError, match="No space left"):
            sort_images(some, tmp_path / "new" / "sorted")
    assert list(tmp_path.iterdir()) == []

    sort_images(some, tmp_path / "new" / "sorted")
    assert len(list((tmp_path / "new" / "sorted" / "cat").glob("*.png"))) == 3


def test_patterns_and_archives_stand_for_their_images(photos: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(photos / "disc", tmp_path / "deep" / "disc")
    names = sorted(folder.iterdir())
    (folder / "a[1].png").write_bytes(names[0].read_bytes())
    shutil.make_archive(str(tmp_path / "photos"), "zip", tmp_path, "deep")
    roots = dict[Path, str]()

    assert expand(tmp_path / "**" / "*.png", roots) == sorted([*names, folder / "a[1].png"])
    assert expand(folder / "a[1].png", roots) == [folder / "a[1].png"]  # a file of that name is no pattern
    with pytest.raises(DataError, match="names of a pattern"):
        expand(tmp_path / "*.gif", roots)
    assert roots == {}
    found = files_of(tmp_path / "photos.zip", roots)
    named = with_archive_names([Prediction(str(path), "cat", 1.0, {"cat": 1.0}) for path in found], roots)
    assert [one.name for one in named] == [
        f"{tmp_path}/photos.zip/deep/disc/{path.name}" for path in sorted(folder.iterdir())
    ]


@pytest.mark.parametrize("option", ["csv", "out", "sort_into"])
def test_a_name_that_is_too_long_is_refused_before_anything_is_computed(option: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="too long"):  # not that there is no classifier
        hs.predict(tmp_path / "none", tmp_path, **{option: tmp_path / f"{'x' * 300}.csv"}, on_event=None)


def test_a_parquet_file_is_read_by_workers(photos: Path, tmp_path: Path) -> None:
    table = tmp_path / "few.parquet"
    table.write_bytes(b"PAR1")
    for source in (table, tmp_path / "*.parquet"):
        with pytest.raises(DataError, match="found a Parquet file") as error:
            expand(source, {})
        assert "--on local" in error.value.hint
