"""Rows of Parquet files and tars are checked as lines of a csv are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headstart.data.image_set import Sample
from headstart.distributed.row_labels import CheckedRows, check_names, check_rows
from headstart.errors import DataError


def checked(rows: list[tuple[str | None, str | None]], *, stop: bool = False, **options: Any) -> CheckedRows:
    samples = [Sample(Path(f"{i}.png"), f"{i}.png", label, split) for i, (label, split) in enumerate(rows)]
    return check_rows(samples, **{"listed_classes": (), "least": 2, "where": "t.parquet", "stop": stop, **options})


def test_rows_without_a_label_are_left_out_and_said() -> None:
    found = checked([("a", None), (None, None), ("b", None)])
    assert (found.at, found.classes) == ((0, 2), ("a", "b"))
    (finding,) = found.findings
    assert finding.message == "1 image has no label and is left out: 1.png."
    assert checked([(None, None), (None, None)]).at == (0, 1)


@pytest.mark.parametrize(
    ("rows", "kind", "words"),
    [([("a|b", None), ("a", None)], "several-labels", "one label"),
     ([("0", None), ("0.0", None), ("1", None)], "two-spellings", "row 2 '0.0'"),
     ([("a", "train"), ("b", "tset")], "unknown-split", "'tset' of 1 image: 1.png"),
     ([("a", "train"), ("b", "train"), ("a", None)], "partial-split", "none of 1 image: 2.png"),
     ([("a", None), ("a", None)], "few-classes", r"at least 2 classes with images, found 1 \('a'\)\."),
     ([("a", "train"), ("b", "test")], "few-classes", r"to train on, found 1 \('a'\), and in other splits alone 'b'")],
)  # fmt: skip
def test_what_stops_a_csv_stops_these(rows: list[tuple[str | None, str | None]], kind: str, words: str) -> None:
    (finding,) = [one for one in checked(rows).findings if one.stops_training]
    assert finding.kind == kind
    with pytest.raises(DataError, match=words):
        checked(rows, stop=True)


def test_splits_and_classes_are_told_by_name() -> None:
    found = checked([("a", "Training"), ("b", "trn"), ("c", "test"), ("nan", "train")])
    assert [one.split for one in found.samples] == ["train", "train", "test", "train"]
    assert {"unknown-class", "missing-class", "missing-labels"} <= {one.kind for one in found.findings}
    with pytest.raises(DataError, match="images of the listed classes only: a, b"):
        checked([("a", None), ("b", None), ("c", None)], listed_classes=("a", "b"), stop=True)
    assert checked([("a", None), ("a", None)], least=1, stop=True).classes == ("a",)


def test_two_images_of_one_name_are_refused() -> None:
    with pytest.raises(DataError, match="2 images with 1 names"):
        check_names([Sample(Path("a"), "a"), Sample(Path("b"), "a")], "t.parquet")
