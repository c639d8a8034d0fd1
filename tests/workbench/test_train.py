"""The main job from folder to run, in process, on drawn images."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import nn

import headstart as hs
from drawn_photos import draw_folder
from headstart import progress
from headstart.classifier.classifier import Classifier
from headstart.errors import BackboneError, ClassifierError, DataError, RecipeError, RunError
from headstart.recipe import Recipe
from headstart.workbench import events
from headstart.workbench.run import Run
from headstart.workbench.train import train


def test_events_come_in_the_order_a_user_reads_them(run_events: list[progress.Event]) -> None:
    kinds = [
        type(event).__name__
        for event in run_events
        if not isinstance(event, (progress.Progress, progress.Working, progress.Detail))
    ]
    assert kinds == ["DatasetSummary", "Plan", "Results", "NextSteps", "FilesWritten"]
    steps = [event for event in run_events if isinstance(event, progress.Progress) and event.step == "extract features"]
    assert steps[-1].done == steps[-1].total == 48


def test_the_plan_says_whose_weights_these_are(run_events: list[progress.Event]) -> None:
    plan = next(event for event in run_events if isinstance(event, events.Plan))
    verdict = next(event for event in run_events if isinstance(event, events.Results))
    assert plan.rows["weights"] == "comes with headstart"
    assert "distilled from SqueezeNet 1.0 (BSD)" in plan.rows["licence"]
    assert not any("pretrained" in warning for warning in verdict.warnings)
    assert {"backbone", "licence", "frozen", "cached", "time", "disk"} <= set(plan.rows)


@pytest.mark.slow
def test_a_run_beside_another_names_itself_in_its_report_and_its_advice(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    told: list[progress.Event] = []
    second = train(photos, out=tmp_path / "run", on_event=told.append, backbone="embedded")
    steps = next(event for event in told if isinstance(event, events.NextSteps))
    said = [step.command for step in steps.steps]
    pages = (second.folder / "report.html").read_text("utf-8") + (second.folder / "inside.html").read_text("utf-8")

    assert second.folder == tmp_path / "run-2"
    assert not any(str(tmp_path / "run") in command.split() for command in said)
    assert f"headstart predict {tmp_path}/run-2/classifier.safetensors " in pages
    assert f"headstart inspect all {tmp_path}/run-2 " in pages


@pytest.mark.slow
def test_the_plan_says_in_plain_words_that_nothing_was_pretrained(photos: Path, tmp_path: Path) -> None:
    told: list[progress.Event] = []
    train(photos, out=tmp_path / "run", on_event=told.append, backbone="random", inside=False)
    plan = next(event for event in told if isinstance(event, events.Plan))
    verdict = next(event for event in told if isinstance(event, events.Results))
    assert "untrained (random weights)" in plan.rows["weights"]
    assert any("untrained (random weights)" in warning for warning in verdict.warnings)


@pytest.mark.slow
def test_another_size_goes_with_the_classifier_and_changes_the_answers(photos: Path, tmp_path: Path, run: Run) -> None:
    told: list[progress.Event] = []
    larger = train(photos, out=tmp_path / "run", on_event=told.append, backbone="embedded", size=144, inside=False)

    assert "144×144 px" in next(event for event in told if isinstance(event, events.Plan)).rows["backbone"]
    image = sorted((photos / "disc").iterdir())[0]
    (row,) = [row for row in larger.predictions() if row["path"] == f"disc/{image.name}"]
    answer = Classifier.load(larger.folder).predict(image)
    assert answer.probability == pytest.approx(float(row["probability"]), abs=2e-4)
    assert Classifier.load(larger.folder).backbone.preprocess.crop == 144
    assert answer.probabilities != run.classifier.predict(image).probabilities


@pytest.mark.slow
def test_the_saved_classifier_is_the_one_that_was_measured(run: Run, photos: Path) -> None:
    rows = [row for row in run.predictions() if row["split"] == "test"]

    predictions = run.classifier.predict([photos / row["path"] for row in rows])

    right = sum(prediction.label == row["label"] for prediction, row in zip(predictions, rows, strict=True))
    assert right / len(rows) == run.evaluation.accuracy.value
    for prediction, row in zip(predictions, rows, strict=True):
        assert prediction.probability == pytest.approx(float(row["probability"]), abs=2e-4)


@pytest.mark.slow
def test_pairs_of_paths_and_labels_give_the_classifier_of_their_folder(photos: Path, tmp_path: Path, run: Run) -> None:
    pairs = [(path, path.parent.name) for path in photos.glob("*/*.png")]

    again = train(pairs, out=tmp_path / "run", on_event=None, backbone="embedded", inside=False, engine="eager")

    np.testing.assert_array_equal(again.classifier.head.weight, run.classifier.head.weight)
    assert again.evaluation.accuracy == run.evaluation.accuracy
    assert again.record["data"]["fingerprint"] == run.record["data"]["fingerprint"]
    assert Path(again.record["source"]).name == "list-48-images.csv"


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"head": "logistic", "balance": "equal"}], ids=["ridge", "logistic"])
def test_a_listed_class_without_images_keeps_its_place_and_changes_no_answer(
    photos: Path, tmp_path: Path, options: dict[str, object]
) -> None:
    common = {"on_event": None, "backbone": "embedded", **options}
    plain = train(photos, out=tmp_path / "plain", inside=False, **common)
    listed = train(photos, out=tmp_path / "run", classes=["stripes", "zebra", "disc", "square"], **common)

    assert listed.classifier.classes == ("stripes", "zebra", "disc", "square")
    assert listed.record["data"]["counts"]["train"] == {"disc": 13, "square": 13, "stripes": 13, "zebra": 0}
    assert [row["predicted"] for row in listed.predictions()] == [row["predicted"] for row in plain.predictions()]
    assert listed.evaluation.balanced_accuracy.value == plain.evaluation.balanced_accuracy.value
    assert "No training image of zebra" in (listed.folder / "report.html").read_text("utf-8")
    assert Recipe.from_dict(listed.record["recipe"]).classes == listed.classifier.classes


def test_a_fifth_of_each_class_is_tested_and_never_trained_on(run: Run) -> None:
    rows = run.predictions()
    tested = {row["sha256"] for row in rows if row["split"] == "test"}
    trained = {row["sha256"] for row in rows if row["split"] == "train"}

    assert not tested & trained
    for name in ("disc", "square", "stripes"):
        assert sum(row["label"] == name and row["split"] == "test" for row in rows) == 3


@pytest.mark.slow
def test_the_record_is_strict_json_that_makes_the_run_again(run: Run, photos: Path, tmp_path: Path) -> None:
    record = json.loads((run.folder / "run.json").read_text(), parse_constant=lambda c: pytest.fail(f"{c} in JSON"))

    again = train(photos, out=tmp_path / "again", recipe=hs.Recipe.from_dict(record["recipe"] | {"inside": False}))

    assert again.evaluation == run.evaluation
    assert again.record["data"]["fingerprint"] == record["data"]["fingerprint"]
    a, b = (load_file(r.folder / "classifier.safetensors") for r in (run, again))
    assert set(a) == set(b)
    np.testing.assert_array_equal(a["head.weight"], b["head.weight"])
    assert {"recipe", "data", "versions", "timings", "head", "backbone"} <= set(record)


def test_the_probe_is_not_its_own_baseline(run: Run) -> None:
    assert [one.name for one in run.evaluation.baselines] == ["majority", "kNN"]


@pytest.mark.slow
def test_an_existing_run_is_never_overwritten(photos: Path, tmp_path: Path) -> None:
    folders = [train(photos, out=tmp_path / "photos", backbone="embedded", inside=False).folder.name for _ in range(3)]
    assert folders == ["photos", "photos-2", "photos-3"]


@pytest.mark.slow
def test_nothing_is_left_when_a_run_is_stopped(photos: Path, tmp_path: Path) -> None:
    def stop(event: progress.Event) -> None:
        if isinstance(event, events.Plan):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(photos, out=tmp_path / "runs" / "photos", on_event=stop, backbone="embedded", inside=False)

    assert list(tmp_path.iterdir()) == []  # no parent that was made for it either


@pytest.mark.slow
def test_test_images_choose_nothing(photos: Path, tmp_path: Path) -> None:
    """Changing the labels of all test images changes the evaluation and nothing that was chosen."""
    base = tmp_path / "set"
    draw_folder(base / "train", seed=1)
    draw_folder(base / "test", per_class=6, seed=2)
    honest = train(base, out=tmp_path / "a", backbone="embedded", inside=False, engine="eager")
    names = ["disc", "square", "stripes"]
    for name in names:
        (base / "test" / name).rename(base / "test" / f"{name}-old")
    for name, other in zip(names, names[1:] + names[:1], strict=True):
        (base / "test" / f"{name}-old").rename(base / "test" / other)

    turned = train(base, out=tmp_path / "b", backbone="embedded", inside=False, engine="eager")

    assert turned.record["head"] == honest.record["head"]
    np.testing.assert_array_equal(turned.classifier.head.weight, honest.classifier.head.weight)
    assert turned.evaluation.accuracy.value < honest.evaluation.accuracy.value


@pytest.mark.slow
def test_an_unknown_class_in_the_test_is_reported_and_not_scored(tmp_path: Path) -> None:
    base = tmp_path / "set"
    draw_folder(base / "train", seed=1)
    draw_folder(base / "val", per_class=4, seed=2)
    shutil.copytree(base / "val" / "disc", base / "val" / "ring")  # sorts between the others: indices would shift
    for i, path in enumerate(sorted((base / "val" / "ring").iterdir())):
        path.write_bytes(path.read_bytes() + bytes([i]))

    run = train(base, out=tmp_path / "run", backbone="embedded", inside=False)

    assert run.evaluation.unknown == {"ring": 4}
    assert run.evaluation.accuracy.n == 12
    assert run.evaluation.classes == ("disc", "square", "stripes")


@pytest.mark.slow
def test_leaked_images_are_counted_and_the_score_without_them_stands_beside(tmp_path: Path) -> None:
    base = tmp_path / "set"
    draw_folder(base / "train", seed=1)
    draw_folder(base / "test", per_class=5, seed=2)
    for path in sorted((base / "train" / "disc").iterdir())[:3]:
        shutil.copy(path, base / "test" / "disc" / f"copy-of-{path.name}")

    run = train(base, out=tmp_path / "run", backbone="embedded", inside=False)

    assert run.evaluation.leaked == 3
    assert run.evaluation.without_leaks is not None
    assert run.evaluation.without_leaks.n == run.evaluation.accuracy.n - 3 == 15


@pytest.mark.slow
def test_groups_from_a_table_stay_on_one_side(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "photos")
    table = folder / "labels.csv"
    paths = sorted(folder.rglob("*.png"))
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "group"])
        writer.writerows(
            [path.relative_to(folder).as_posix(), path.parent.name, f"{path.parent.name}-{i % 8}"]
            for i, path in enumerate(paths)
        )

    run = train(table, out=tmp_path / "run", backbone="embedded", inside=False)

    sides: dict[str, set[str]] = {}
    for row in run.predictions():
        sides.setdefault(row["group"], set()).add(row["split"])
    assert len(sides) < len(paths)
    assert all(len(parts) == 1 for parts in sides.values())
    assert "groups at a time" in run.record["head"]["held_out"]
    assert run.evaluation.accuracy_over_groups is not None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("knobs", "kind", "message"),
    [
        ({"backbone": "resnet19"}, BackboneError, "resnet18"),
        ({"backbone": "random", "layers": "stage9"}, BackboneError, "stage"),
        ({"backbone": "resnet18", "offline": True}, BackboneError, "--weights FILE"),
        ({"backbone": "resnet18", "weights": "nothing.pth"}, BackboneError, "nothing.pth"),
        ({"head": "svm"}, RecipeError, "ridge, logistic"),
        ({"bakcbone": "random"}, RecipeError, "Did you mean backbone"),
        ({"device": "tpu"}, RecipeError, "device of this machine"),
        ({"group_by": "("}, RecipeError, "regular expression"),
        ({"background": "blurple"}, RecipeError, "colour"),
    ],
)
def test_mistakes_are_told_and_leave_nothing(
    photos: Path, tmp_path: Path, knobs: dict[str, object], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        train(photos, out=tmp_path / "runs" / "x", **knobs)
    assert not list((tmp_path / "runs").glob("*"))


def test_a_missing_folder_names_the_near_ones(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(DataError, match="Did you mean photos"):
        train(tmp_path / "photo", out=tmp_path / "run")


@pytest.mark.slow
def test_auto_without_weights_and_network_falls_back_in_plain_words(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[progress.Event] = []
    monkeypatch.setattr("headstart.backbones.weights._in_wheel", lambda wheel: None)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    run = train(photos, out=tmp_path / "run", on_event=told.append, offline=True)

    assert run.record["backbone"]["name"] == "embedded"
    assert run.record["backbone"]["source"] == "comes with headstart"
    notice = next(event.text for event in told if isinstance(event, progress.Notice))
    assert "small network that comes with headstart" in notice
    assert "--offline" in notice


@pytest.mark.slow
@pytest.mark.parametrize(("out", "name"), [(".", "inner-2"), ("..", "outer-2")])
def test_the_folder_one_stands_in_has_a_name_too(
    out: str, name: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)

    run = train(photos, out=out, backbone="embedded", inside=False)

    assert run.folder.name == name
    assert run.folder.parent == Path(out).resolve().parent


def test_a_folder_without_a_name_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="a folder with a name"):
        train(tmp_path / "nothing", out="/")
    with pytest.raises(RunError, match="~nobody-of-this-name"):
        train(tmp_path / "nothing", out="~nobody-of-this-name/run")


def small_network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 8, 5, 2), nn.ReLU(), nn.Conv2d(8, 16, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1))


@pytest.mark.slow
def test_an_own_network_is_trained_saved_and_loaded_with_its_module(photos: Path, tmp_path: Path) -> None:
    backbone = hs.Backbone.from_module(small_network(0), preprocess={"size": 48})

    run = train(photos, out=tmp_path / "run", backbone=backbone, inside=False, on_event=None)

    image = sorted((photos / "disc").iterdir())[0]
    (row,) = [row for row in run.predictions() if row["path"] == f"disc/{image.name}"]
    assert run.classifier.predict(image).probability == pytest.approx(float(row["probability"]), abs=2e-4)
    with pytest.raises(ClassifierError, match="module="):
        Classifier.load(run.folder)
    assert Classifier.load(run.folder, module=small_network(1)).predict(image) == run.classifier.predict(image)


@pytest.mark.slow
def test_options_that_only_fine_tuning_reads_are_named_without_it(photos: Path, tmp_path: Path) -> None:
    told: list[progress.Event] = []

    hs.train(
        photos,
        out=tmp_path / "run",
        backbone="embedded",
        epochs=3,
        augment="auto",
        inside=False,
        on_event=told.append,
    )

    notices = [event.text for event in told if isinstance(event, progress.Notice)]
    said = [text for text in notices if "no effect" in text]
    assert said == ["--epochs, --augment have no effect with --strategy probe: only the head is trained."]
