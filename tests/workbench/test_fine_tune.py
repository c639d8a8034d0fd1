"""train --strategy: the main job goes on from the probe, and what is saved is what was measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from headstart import progress
from headstart.backbones.backbone import build_backbone
from headstart.backbones.catalogue import SPECS
from headstart.errors import BackboneError, RecipeError
from headstart.finetune.auto import boundary_of, epochs_of
from headstart.recipe import Recipe
from headstart.workbench import events
from headstart.workbench.evaluate import evaluate
from headstart.workbench.run import FILES
from headstart.workbench.train import train


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["last-stage", "full", "probe-then-full"])
def test_a_strategy_trains_measures_and_saves_the_same_network(strategy: str, photos: Path, tmp_path: Path) -> None:
    told: list[progress.Event] = []
    knobs = {"backbone": "embedded", "strategy": strategy, "epochs": 1, "force": True}
    run = train(photos, out=tmp_path / "run", on_event=told.append, **knobs)

    assert sorted(path.name for path in run.folder.iterdir()) == sorted(FILES)
    rows = [row for row in run.predictions() if row["split"] == "test"]
    predictions = run.classifier.predict([photos / row["path"] for row in rows])
    right = sum(prediction.label == row["label"] for prediction, row in zip(predictions, rows, strict=True))
    assert right / len(rows) == run.evaluation.accuracy.value
    again = evaluate(run.folder / "classifier.safetensors", photos, on_event=told.append).evaluation
    assert {"kNN", "majority"} <= {baseline.name for baseline in again.baselines}

    tuning = run.record["fine_tuning"]
    assert tuning["strategy"] == strategy
    assert tuning["proof"].startswith("frozen weights: 0 of ")
    assert len(tuning["epochs"]) == 1
    assert "fine-tuned here" in run.classifier.card.weights["source"]
    assert "probe" in {baseline.name for baseline in run.evaluation.baselines}
    plan = next(event for event in told if isinstance(event, events.Plan))
    assert strategy in plan.rows["strategy"]
    assert sum(isinstance(event, events.Plan) for event in told) == 1
    verdict = next(event for event in told if isinstance(event, events.Results))
    assert "not trained on" in verdict.chosen


@pytest.mark.slow
def test_a_network_that_held_out_images_find_worse_is_dropped_unless_it_is_forced(photos: Path, tmp_path: Path) -> None:
    knobs = {"backbone": "embedded", "strategy": "full", "epochs": 1, "inside": False, "lr": 1e-6}
    told: list[progress.Event] = []
    probe = train(photos, out=tmp_path / "probe", on_event=None, backbone="embedded", inside=False)
    kept = train(photos, out=tmp_path / "kept", on_event=told.append, **knobs)
    forced = train(photos, out=tmp_path / "forced", on_event=None, force=True, **knobs)

    assert kept.classifier.backbone.fingerprint == probe.classifier.backbone.fingerprint
    assert np.array_equal(kept.classifier.head.weight, probe.classifier.head.weight)
    assert kept.predictions() == probe.predictions()
    results = next(event for event in told if isinstance(event, events.Results))
    said = next(text for text in results.warnings if "worse" in text)
    assert "The classifier is the probe." in said
    assert "--force" in said
    record = kept.record["fine_tuning"]
    assert (record["kept"], record["strategy"], record["verdict"]) == (False, "full", said)
    assert record["gain"]["value"] < 0
    assert forced.record["fine_tuning"]["kept"]
    assert forced.classifier.head.kind == "trained"
    assert "kept because of --force" in forced.record["fine_tuning"]["verdict"]


@pytest.mark.slow
def test_the_held_out_images_are_neither_trained_on_nor_in_the_head_that_is_the_start(
    photos: Path, tmp_path: Path
) -> None:
    run = train(photos, out=tmp_path / "run", on_event=None, backbone="embedded", strategy="full", epochs=1, force=True)
    held, seen = run.record["fine_tuning"]["held_out"]["images"], run.record["fine_tuning"]["epochs"][0]["samples"]
    parts = [row["split"] for row in run.predictions()]
    assert held > 0
    assert held + seen == parts.count("train")


@pytest.mark.slow
def test_the_features_that_are_kept_are_those_of_the_tuned_backbone(photos: Path, tmp_path: Path) -> None:
    run = train(photos, out=tmp_path / "run", on_event=None, backbone="embedded", strategy="full", epochs=1, force=True)
    classifier = run.classifier
    name = run.features.names[0]
    from headstart.data.images import open_image

    prepared = classifier.backbone.preprocess.prepare(open_image(photos / name).rgb)
    row = classifier.backbone.features(classifier.backbone.preprocess.normalise(prepared[None])).numpy()[0]
    assert np.allclose(run.features.matrix[0], row, atol=1e-4)


@pytest.mark.slow
def test_a_stage_that_is_not_there_is_said_before_any_image_is_run(photos: Path, tmp_path: Path) -> None:
    told: list[progress.Event] = []
    with pytest.raises(BackboneError, match="stage4"):
        train(
            photos,
            out=tmp_path / "run",
            on_event=told.append,
            backbone="embedded",
            strategy="last-stage",
            unfreeze="stage9",
        )
    assert not any(isinstance(event, progress.Progress) and event.step == "extract features" for event in told)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RecipeError, match="last-stage"):
        Recipe(strategy="last-stge")


def test_the_number_of_epochs_follows_the_images_unless_it_is_said() -> None:
    assert epochs_of(Recipe(epochs=7), 100) == 7
    assert [epochs_of(Recipe(), images) for images in (100, 1000, 100_000)] == [10, 5, 3]
    backbone = build_backbone(SPECS["cifar_resnet20"])
    assert boundary_of(Recipe(), backbone) == "stage3"
    assert boundary_of(Recipe(unfreeze="layer2.1"), backbone) == "layer2.1"


@pytest.mark.slow
def test_what_fine_tuning_keeps_is_shown_by_the_cache_command(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from headstart.cli.main import main

    train(
        photos, out=tmp_path / "run", on_event=lambda event: None, backbone="embedded", strategy="last-stage", epochs=1
    )
    with pytest.raises(SystemExit) as left:
        main(["cache"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    for what in ("features embedded", "prepared pixels embedded", "activations at a frozen boundary embedded"):
        assert what in shown
