"""RunRows: arrays of a run agree with its table and its features; images are found by name."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import headstart as hs
from headstart.workbench.run_rows import RunRows, paths_of, places_in


def test_arrays_agree_with_the_tables_of_the_run(run: hs.Run) -> None:
    rows = RunRows.of(run)
    table = run.predictions()
    assert list(rows.names) == table.names
    np.testing.assert_array_equal(rows.labels, table.labels)
    assert [run.features.names[i] for i in rows.at] == list(rows.names)
    train = rows.training()
    assert [rows.classes[label] for label in train.labels] == [row["label"] for row in table.of_split("train")]
    kept = np.ones(len(rows), dtype=bool)
    kept[rows.indices("train")[0]] = False
    assert len(rows.training(kept).rows) == len(train.rows) - 1
    paths, problem = paths_of(run, rows.names)
    assert problem == ""
    assert all(paths[name].is_file() for name in rows.names)


def test_an_image_is_found_by_name_by_path_and_by_a_unique_end(run: hs.Run) -> None:
    rows, root = RunRows.of(run), Path(run.record["source"])
    name = rows.names[3]
    ends = [one for one in rows.names if one.endswith(f"/{name.rpartition('/')[2]}")]
    assert rows.find(name) == rows.find(f"./{name}") == rows.find(root / name, root=root) == 3
    if len(ends) == 1:
        assert rows.find(name.rpartition("/")[2]) == 3
    else:
        with pytest.raises(hs.RunError, match="with its folders"):
            rows.find(name.rpartition("/")[2])
    with pytest.raises(hs.RunError, match="an image of the run"):
        rows.find("no/such.png")


def test_features_of_other_images_are_an_error(run_folder: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(run_folder, tmp_path / "run"))
    table = copied / "predictions.csv"
    text = table.read_text("utf-8")
    first = hs.Run.load(copied).predictions()[0]["sha256"]
    table.write_text(text.replace(first, "0" * 64), "utf-8")
    run = hs.Run.load(copied)
    before = {key: value for key, value in run.record.items() if key != "predictions_sha256"}  # as older runs
    with pytest.raises(hs.RunError, match="other contents"):
        RunRows.of(replace(run, record=before))


def test_images_that_are_gone_are_counted(run_folder: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(run_folder, tmp_path / "run"))
    run = hs.Run.load(copied)
    paths, problem = paths_of(run, ["no/such.png"])
    assert paths == {}
    assert "1 images of the run are no longer" in problem


def test_rows_have_their_places_in_the_features_of_their_own_run_alone(run: hs.Run) -> None:
    """`evaluate`, `explain` and `review` read both files; a folder may be put together of two runs."""
    rows = run.predictions().of_split("test")

    places = places_in(run.features, rows, run.folder)

    assert [run.features.names[place] for place in places] == [row["path"] for row in rows]
    with pytest.raises(hs.RunError, match="images with other contents"):
        places_in(run.features, [rows[0] | {"sha256": "0" * 64}], run.folder)
    with pytest.raises(hs.RunError, match="no features of 'gone"):
        places_in(run.features, [rows[0] | {"path": "gone.png"}], run.folder)
