"""explain: pictures are written one for each image, training images come from the run, bad files are reported."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import headstart as hs
from headstart.errors import DataError, RecipeError, RunError
from headstart.progress import Event, Notice
from headstart.workbench.events import FilesWritten
from headstart.workbench.explain import explain
from headstart.workbench.run import Run


@pytest.mark.slow
def test_each_image_has_its_answer_a_picture_and_its_training_images(run: Run, photos: Path, tmp_path: Path) -> None:
    images = [sorted((photos / kind).iterdir())[2] for kind in ("disc", "stripes")]
    told: list[Event] = []

    found = explain(run.folder, images, out=tmp_path / "why", on_event=told.append)

    predictions = run.classifier.predict(images)
    assert [one.image for one in found] == [str(path) for path in images]
    assert [one.predicted for one in found] == [one.label for one in predictions]
    for one, prediction in zip(found, predictions, strict=True):
        assert one.probability == pytest.approx(prediction.probability, abs=1e-5)
        assert len(one.similar) == 3
        assert all(other.picture is not None for other in one.similar)
    written = next(event for event in told if isinstance(event, FilesWritten))
    assert written.files == tuple(f"{path.stem}.png" for path in images)
    assert all((tmp_path / "why" / name).stat().st_size > 10_000 for name in written.files)


@pytest.mark.slow
def test_the_images_alike_are_the_nearest_by_features_and_never_the_image_itself(run: Run, photos: Path) -> None:
    rows = [row for row in run.predictions() if row["split"] == "train"]
    (found,) = explain(run.folder, [photos / rows[0]["path"]], on_event=lambda _: None)

    places = {name: i for i, name in enumerate(run.features.names)}
    stages = run.classifier.head.stages
    x = run.features.view(np.array([places[row["path"]] for row in rows]), stages).array()
    x = x - x.mean(0)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    order = np.argsort(-(x @ x[0]), kind="stable")[1:4]
    assert [one.name for one in found.similar] == [rows[i]["path"] for i in order]
    assert [one.cosine for one in found.similar] == pytest.approx((x @ x[0])[order], abs=1e-4)


@pytest.mark.slow
def test_a_lone_file_explains_without_training_images_and_says_why(run: Run, photos: Path, tmp_path: Path) -> None:
    lone = shutil.copy(run.folder / "classifier.safetensors", tmp_path / "lone.safetensors")
    told: list[Event] = []
    (found,) = explain(lone, sorted((photos / "disc").iterdir())[:1], on_event=told.append)
    assert found.similar == ()
    assert any(isinstance(event, Notice) and "No training images" in event.text for event in told)


@pytest.mark.slow
def test_unreadable_images_are_told_and_left_out(run: Run, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    good = sorted((photos / "square").iterdir())[0]
    told: list[Event] = []
    found = explain(run.classifier, [tmp_path / "bad.png", good], class_name="disc", on_event=told.append)
    assert [(one.image, one.target) for one in found] == [(str(good), "disc")]
    assert any(isinstance(event, Notice) and "bad.png is left out" in event.text for event in told)
    with pytest.raises(DataError, match="read"):
        explain(run.classifier, tmp_path / "bad.png", on_event=told.append)


@pytest.mark.slow
def test_pictures_of_images_of_one_name_do_not_overwrite_each_other(run: Run, photos: Path, tmp_path: Path) -> None:
    image = sorted((photos / "square").iterdir())[0]
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        shutil.copy(image, tmp_path / folder / "one.png")
    told: list[Event] = []
    explain(run.classifier, [tmp_path / "a", tmp_path / "b"], out=tmp_path / "out", on_event=told.append)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == ["one-2.png", "one.png"]


@pytest.mark.slow
def test_the_photographs_themselves_are_not_overwritten(run: Run, photos: Path, tmp_path: Path) -> None:
    mine = shutil.copy(sorted((photos / "square").iterdir())[0], tmp_path / "one.png")
    before, told = Path(mine).read_bytes(), list[Event]()
    explain(run.classifier, mine, out=tmp_path, on_event=told.append)
    assert Path(mine).read_bytes() == before
    written = next(event for event in told if isinstance(event, FilesWritten))
    assert written.files == ("one-2.png",)
    assert (tmp_path / "one-2.png").stat().st_size > 10_000


@pytest.mark.slow
def test_a_photograph_that_differs_in_case_alone_is_not_overwritten_where_case_does_not_count(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    mine = shutil.copy(sorted((photos / "square").iterdir())[0], tmp_path / "One.PNG")
    told = list[Event]()
    explain(run.classifier, mine, out=tmp_path, on_event=told.append)
    assert next(event for event in told if isinstance(event, FilesWritten)).files == ("One-2.png",)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no folder here that exists and cannot be written by root")
def test_a_folder_that_cannot_be_written_is_said(run: Run, photos: Path) -> None:
    with pytest.raises(RunError, match="a folder that can be written"):
        explain(run.classifier, sorted((photos / "disc").iterdir())[0], out="/proc", on_event=lambda _: None)


def test_an_unknown_method_is_refused(run: Run, photos: Path) -> None:
    with pytest.raises(RecipeError, match="occlusion"):
        explain(run.classifier, photos / "disc", method="occlusions", on_event=lambda _: None)


@pytest.mark.slow
def test_bees_on_a_real_photograph_are_explained_by_where_the_bee_is(test_data: Path, tmp_path: Path) -> None:
    run = hs.train(
        test_data / "hymenoptera",
        out=tmp_path / "run",
        backbone="resnet18",
        weights=str(test_data / "weights" / "resnet18_imagenet.safetensors"),
    )
    image = test_data / "hymenoptera" / "val" / "bees" / "203868383_0fcbb48278.jpg"
    (found,) = explain(run.folder, image, on_event=lambda _: None)
    heat = found.maps[0].heat
    assert found.predicted == "bees"
    # the bumblebee sits in the middle of the upper half of this photograph (seen by eye)
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert 30 < row < 120
    assert 60 < column < 165
    assert found.maps[0].hidden < found.maps[0].elsewhere
    assert abs(found.maps[0].sanity) < 0.5
