"""predict: in the given order, with every probability in a table that is whole or not there."""

from __future__ import annotations

import csv
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import headstart as hs
from headstart.data.images import open_image
from headstart.errors import DataError, RunError
from headstart.workbench.run import Run


@pytest.mark.slow
def test_predict_keeps_the_order_and_expands_folders(run: Run, photos: Path) -> None:
    one = sorted((photos / "stripes").iterdir())[3]

    predictions = hs.predict(run.folder, [one, photos / "disc"])

    assert [p.name for p in predictions] == [str(one), *map(str, sorted((photos / "disc").iterdir()))]


@pytest.mark.slow
def test_predict_writes_a_table_with_every_probability(run: Run, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"")

    predictions = hs.predict(run.folder, [photos / "disc", tmp_path / "bad.png"], csv=tmp_path / "p.csv")

    with (tmp_path / "p.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(predictions) == 17
    for row, prediction in zip(rows[:-1], predictions[:-1], strict=True):
        assert float(row["p(square)"]) == pytest.approx(prediction.probabilities["square"], abs=1e-6)
    assert "empty" in rows[-1]["error"]


def test_a_table_that_cannot_be_written_is_said_and_leaves_nothing(run: Run, photos: Path, tmp_path: Path) -> None:
    told: list[object] = []
    with pytest.raises(RunError, match="no such folder"):
        hs.predict(run.folder, photos / "disc", csv=tmp_path / "nowhere" / "p.csv", on_event=told.append)
    assert not told  # before anything was computed
    (tmp_path / "p.csv").mkdir()
    with pytest.raises(RunError, match="a table that can be written"):
        hs.predict(run.folder, photos / "disc", csv=tmp_path / "p.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["p.csv"]


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="links and pipes")
def test_a_table_goes_through_links_and_into_pipes(run: Run, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "real.csv").write_text("before", encoding="utf-8")
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    hs.predict(run.folder, photos / "disc", csv=tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink()
    lines = (tmp_path / "real.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 17

    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit((tmp_path / "pipe").read_text, encoding="utf-8")
        hs.predict(run.folder, photos / "disc", csv=tmp_path / "pipe")
        assert read.result().splitlines() == lines
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.slow
def test_images_in_memory_get_the_answers_of_their_files(run: Run, photos: Path) -> None:
    files = sorted(photos.rglob("*.png"))[:3]
    expected = [p.probabilities for p in hs.predict(run, files, on_event=None)]
    arrays = [open_image(file).rgb for file in files]

    for images in (arrays, (array for array in arrays), [file.read_bytes() for file in files]):
        assert [p.probabilities for p in hs.predict(run, images, on_event=None)] == expected
    assert hs.predict(run, arrays[0], on_event=None)[0].probabilities == pytest.approx(expected[0], abs=1e-6)
    assert hs.predict(run, files[0].read_bytes(), on_event=None)[0].name == "<bytes>"
    assert hs.predict(run, [files[0], arrays[1]], on_event=None).to_dict()["path"] == [str(files[0]), "<array>"]


def test_an_address_is_not_fetched_offline(run: Run) -> None:
    with pytest.raises(DataError, match="--offline"):
        hs.predict(run, "http://127.0.0.1:9/x.png", offline=True, on_event=None)


@pytest.mark.slow
def test_images_are_copied_into_folders_of_their_classes(run: Run, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    same = tmp_path / "other" / "bad.png"
    same.parent.mkdir()
    same.write_bytes(b"neither")
    files = [*sorted((photos / "disc").iterdir())[:2], tmp_path / "bad.png", same]

    predictions = hs.predict(run, files, sort_into=tmp_path / "sorted", on_event=None)

    for prediction, file in list(zip(predictions, files, strict=True))[:2]:
        assert (tmp_path / "sorted" / str(prediction.label) / file.name).read_bytes() == file.read_bytes()
        assert file.exists()
    unreadable = sorted((tmp_path / "sorted" / "_unreadable").glob("[!.]*"))
    assert [path.name for path in unreadable] == ["bad-2.png", "bad.png"]
    assert {path.read_bytes() for path in unreadable} == {b"no image", b"neither"}


@pytest.mark.slow
def test_an_archive_is_predicted_sorted_and_written_by_its_own_names(run: Run, photos: Path, tmp_path: Path) -> None:
    shutil.make_archive(str(tmp_path / "new"), "zip", photos, "disc")

    predictions = hs.predict(
        run, [tmp_path / "new.zip"], out=tmp_path / "p.json", sort_into=tmp_path / "sorted", on_event=None
    )

    names = [f"{tmp_path}/new.zip/disc/{path.name}" for path in sorted((photos / "disc").iterdir())]
    assert [one.name for one in predictions] == names
    records = json.loads((tmp_path / "p.json").read_text("utf-8"))
    assert [record["path"] for record in records] == names
    assert [record["p(disc)"] for record in records] == [one.probabilities["disc"] for one in predictions]
    assert len(list((tmp_path / "sorted").glob("*/*.png"))) == 16
    direct = hs.predict(run, str(photos / "disc" / "*.png"), on_event=None)
    assert [one.probabilities for one in direct] == [one.probabilities for one in predictions]


@pytest.mark.parametrize("address", ["s3://bucket/a.jpg", "hdfs://host/photos/*.parquet"])
def test_an_address_that_only_workers_read_is_refused_with_the_way(run: Run, address: str) -> None:
    with pytest.raises(DataError) as caught:
        hs.predict(run, [address], on_event=None)
    assert caught.value.where == address
    assert "--on local" in caught.value.hint
