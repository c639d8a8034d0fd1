"""evaluate: on other images, by class names, with what the run beside the file knows."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import nn

import headstart as hs
from drawn_photos import draw_folder
from headstart.classifier.classifier import Classifier
from headstart.errors import DataError, RecipeError
from headstart.progress import Notice
from headstart.workbench.explain import explain
from headstart.workbench.run import Run
from headstart.workbench.session import Session


@pytest.mark.slow
def test_evaluate_beside_its_run_knows_neighbours_and_leaks(run: Run, photos: Path, tmp_path: Path) -> None:
    other = draw_folder(tmp_path / "other", per_class=5, seed=9)
    trained = next(row for row in run.predictions() if row["split"] == "train")
    shutil.copy(photos / trained["path"], other / trained["label"] / "seen.png")

    measured = hs.evaluate(run.folder / "classifier.safetensors", other)

    assert measured.evaluation.accuracy.n == 15
    assert measured.evaluation.leaked == 1
    assert measured.problem == "1 of 16 images was trained on. All numbers are those of the other 15."
    assert [baseline.name for baseline in measured.evaluation.baselines] == ["majority", "kNN"]
    assert set(measured.nearest) == {mistake.name for mistake in measured.evaluation.mistakes}


@pytest.mark.slow
def test_a_training_image_in_another_format_is_a_leak_too(run: Run, photos: Path, tmp_path: Path) -> None:
    other = draw_folder(tmp_path / "other", per_class=5, seed=9)
    trained = next(row for row in run.predictions() if row["split"] == "train")
    with Image.open(photos / trained["path"]) as image:
        image.save(other / trained["label"] / "seen.bmp")

    measured = hs.evaluate(run.folder, other)

    assert measured.evaluation.leaked == 1
    assert any("near duplicates are not searched for" in note for note in measured.notes)


@pytest.mark.slow
def test_the_headline_is_that_of_images_that_were_not_trained_on(run: Run, photos: Path) -> None:
    rows = [row for row in run.predictions() if row["split"] != "train"]
    correct = sum(row["label"] == row["predicted"] for row in rows)

    measured = hs.evaluate(run.folder, photos, on_event=None)

    accuracy = measured.evaluation.accuracy
    assert (accuracy.n, round(accuracy.value * accuracy.n)) == (len(rows), correct)
    assert measured.evaluation.without_leaks is not None
    assert measured.evaluation.without_leaks.n == len(rows)
    assert measured.evaluation.leaked == 48 - len(rows)
    assert sum(map(sum, measured.evaluation.confusion)) == len(rows)
    assert measured.problem == f"{48 - len(rows)} of 48 images were trained on. All numbers are those of the other 9."
    assert str(measured).startswith(measured.problem)
    assert measured.to_dict()["problem"] == measured.problem
    assert "left out of all numbers" in str(measured)


@pytest.mark.slow
def test_where_all_images_were_trained_on_no_number_is_given(run: Run, photos: Path, tmp_path: Path) -> None:
    for row in run.predictions():
        if row["split"] == "train":
            (tmp_path / row["label"]).mkdir(exist_ok=True)
            shutil.copy(photos / row["path"], tmp_path / row["label"])

    with pytest.raises(DataError, match=r"39 images, all trained on: no honest accuracy can be measured"):
        hs.evaluate(run.folder, tmp_path, on_event=None)


@pytest.mark.slow
def test_evaluate_opens_images_as_the_classifiers_card_says(run: Run, photos: Path, tmp_path: Path) -> None:
    other = tmp_path / "cut"
    for kind in ("disc", "square", "stripes"):
        (other / kind).mkdir(parents=True)
        for path in sorted((photos / kind).iterdir())[:6]:
            with Image.open(path) as image:
                cut = image.convert("RGBA")
            cut.putalpha(Image.linear_gradient("L").resize(cut.size))
            cut.save(other / kind / path.name)
    losses = set()
    for background in ((255, 255, 255), (0, 0, 0)):
        card = replace(run.classifier.card, background=background)
        model = Classifier(run.classifier.backbone, run.classifier.head, card)
        truth = [one.probabilities[Path(one.name).parent.name] for one in hs.predict(model, other)]
        loss = float(-np.log(truth).mean())
        assert hs.evaluate(model, other).evaluation.calibration.nll == pytest.approx(loss, rel=1e-3)
        losses.add(round(loss, 3))
    assert len(losses) == 2  # or this test could not tell
    with pytest.raises(RecipeError, match="card"):
        hs.evaluate(run.folder, other, background="black")


@pytest.mark.slow
def test_evaluate_and_explain_compare_with_a_run_of_the_same_weights_only(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(run.folder, tmp_path / "run")
    model = Classifier.load(folder)
    norm = next(part for part in model.backbone.network.modules() if isinstance(part, nn.BatchNorm2d))
    norm.running_mean.add_(0.5)
    other, told = model.save(folder / "other.safetensors"), list[object]()

    measured = hs.evaluate(other, photos)
    (found,) = explain(other, sorted((photos / "disc").iterdir())[0], on_event=told.append)

    assert [baseline.name for baseline in measured.evaluation.baselines] == ["majority"]
    assert any("of other weights" in note for note in measured.notes)
    assert found.similar == ()
    assert any(isinstance(event, Notice) and "of other weights" in event.text for event in told)
    assert len(hs.evaluate(folder, photos).evaluation.baselines) == 2


@pytest.mark.slow
def test_evaluate_on_a_lone_file_says_what_it_cannot_say(run: Run, tmp_path: Path) -> None:
    lone = shutil.copy(run.folder / "classifier.safetensors", tmp_path / "lone.safetensors")
    other = draw_folder(tmp_path / "other", per_class=5, seed=9)

    measured = hs.evaluate(lone, other)

    assert [baseline.name for baseline in measured.evaluation.baselines] == ["majority"]
    assert "No kNN baseline" in measured.notes[0]
    assert measured.evaluation.accuracy == hs.evaluate(run.folder, other).evaluation.accuracy


@pytest.mark.slow
def test_evaluate_aligns_by_name_and_counts_unknown_classes(run: Run, tmp_path: Path) -> None:
    other = draw_folder(tmp_path / "other", per_class=5, seed=9)
    (other / "disc").rename(other / "zebra")

    measured = hs.evaluate(run.folder, other)

    assert measured.evaluation.unknown == {"zebra": 5}
    assert measured.evaluation.accuracy.n == 10
    shutil.rmtree(other / "square")
    shutil.rmtree(other / "stripes")
    with pytest.raises(DataError, match=r"only .*Name the class folders"):
        hs.evaluate(run.folder, other)


@pytest.mark.slow
def test_pairs_are_measured_like_the_folder_they_come_from(run: Run, photos: Path) -> None:
    pairs = [(path, path.parent.name) for path in photos.glob("*/*.png")]
    on_disk = hs.evaluate(run, photos, on_event=None)
    assert hs.evaluate(run, pairs, on_event=None).evaluation.accuracy == on_disk.evaluation.accuracy


def test_classes_are_checked_before_an_image_is_opened_or_a_feature_computed(run: Run, tmp_path: Path) -> None:
    other = draw_folder(tmp_path / "other", per_class=3, seed=9)
    for name in ("disc", "square", "stripes"):
        (other / name).rename(other / f"{name}s")
    steps = list[object]()

    with pytest.raises(DataError) as caught:
        hs.evaluate(run.folder, other, on_event=steps.append)

    assert steps == []  # not even of reading images
    assert "discs, squares, stripess" in caught.value.found
    assert caught.value.expected == "images of disc, square, stripes"
    assert caught.value.where == str(other)


@pytest.mark.slow
def test_a_split_without_a_known_class_stops_before_features(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_folder(tmp_path / "other" / "train", per_class=3, seed=9)
    draw_folder(tmp_path / "other" / "test", per_class=3, seed=8)
    for name in ("disc", "square", "stripes"):
        (tmp_path / "other" / "test" / name).rename(tmp_path / "other" / "test" / f"{name}s")
    monkeypatch.setattr(Session, "features", lambda *_: pytest.fail("features were computed"))

    with pytest.raises(DataError, match="only discs"):
        hs.evaluate(run.folder, tmp_path / "other")
