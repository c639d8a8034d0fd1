"""continue: a new phase from a run's weights; the test images stay untouched by it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headstart.backbones.flip_tta import FlipTTA
from headstart.classifier.classifier import Classifier
from headstart.errors import RecipeError, RunError, TrainingError
from headstart.progress import Event, Progress
from headstart.workbench.continue_run import continue_run
from headstart.workbench.events import Results
from headstart.workbench.job import Job
from headstart.workbench.resume import resume
from headstart.workbench.run import CLASSIFIER, Run, write_record
from headstart.workbench.train import train

FULL = "probe-then-full"
KNOBS = {"backbone": "embedded", "engine": "eager", "checkpoint_every": 0.0, "epochs": 1}

pytestmark = pytest.mark.slow  # every one trains more than once


def quiet(event: Event) -> None:
    """Nobody listens."""


def test_it_begins_where_the_run_ended_and_leaves_the_run_alone(fine_tuned: Run, tmp_path: Path) -> None:
    before = fine_tuned.classifier.backbone.fingerprint
    further = continue_run(
        fine_tuned, out=tmp_path / "more", strategy=FULL, epochs=2, lr=0.001, force=True, on_event=quiet
    )
    then, now = fine_tuned.record["fine_tuning"], further.record["fine_tuning"]
    # the held-out images are the same, and answered at its start as they were at the end of the run
    assert now["held_out"]["images"] == then["held_out"]["images"]
    assert now["held_out"]["before"] == then["held_out"]["after"]
    assert len(now["epochs"]) == 2
    assert further.record["data"]["fingerprint"] == fine_tuned.record["data"]["fingerprint"]
    assert further.classifier.backbone.fingerprint != before
    assert Run.load(fine_tuned.folder).classifier.backbone.fingerprint == before
    assert "continued from" in further.record["plan"]["backbone"]
    source = further.classifier.card.weights["source"]
    assert source.count("fine-tuned here") == 2


def test_auto_that_changes_nothing_keeps_the_head_that_it_began_with(fine_tuned: Run, tmp_path: Path) -> None:
    told: list[str] = []

    def on_event(event: Event) -> None:
        told.append(getattr(event, "text", "") or getattr(event, "chosen", ""))

    further = continue_run(fine_tuned, out=tmp_path / "more", strategy="auto", on_event=on_event)
    assert further.record["fine_tuning"]["plan"]["strategy"] == "probe"
    assert further.classifier.backbone.fingerprint == fine_tuned.classifier.backbone.fingerprint
    assert further.classifier.head.kind == "trained"
    assert np.array_equal(further.classifier.head.weight, fine_tuned.classifier.head.weight)
    assert further.evaluation.accuracy == fine_tuned.evaluation.accuracy
    assert any("auto: keeping the previous classifier" in text for text in told)
    assert "The head is that of the run it continues" in told
    assert not any("keeping the probe" in text for text in told)


def test_auto_that_changes_nothing_answers_with_mirror_images_as_the_run_did(
    fine_tuned: Run, photos: Path, tmp_path: Path
) -> None:
    run = Run.load(shutil.copytree(fine_tuned.folder, tmp_path / "run"))
    backbone, head = run.classifier.backbone, replace(run.classifier.head, flip_tta=True)
    backbone.flip_tta = FlipTTA(backbone.widths, head.unit)
    Classifier(backbone, head, replace(run.classifier.card, flip_tta=True, unit=head.unit)).save(
        run.folder / CLASSIFIER
    )
    write_record(run.folder, run.record)  # with the checksum of this classifier

    further = continue_run(run.folder, out=tmp_path / "more", strategy="auto", on_event=quiet)

    assert further.record["fine_tuning"]["plan"]["strategy"] == "probe"
    assert further.classifier.head.flip_tta
    image = sorted((photos / "disc").iterdir())[0]
    expected = Classifier.load(run.folder).predict(image).probabilities
    assert further.classifier.predict(image).probabilities == pytest.approx(expected, abs=1e-5)
    assert expected != pytest.approx(fine_tuned.classifier.predict(image).probabilities, abs=1e-5)


@pytest.mark.slow
def test_a_run_with_a_kernel_is_continued_from_the_linear_head(photos: Path, tmp_path: Path) -> None:
    kernel = train(photos, out=tmp_path / "run", on_event=quiet, head="kernel", **KNOBS)
    assert kernel.classifier.head.kernel is not None
    further = continue_run(kernel.folder, strategy=FULL, on_event=quiet, force=True)
    assert further.record["recipe"]["head"] == "ridge"
    assert further.classifier.head.kernel is None
    with pytest.raises(TrainingError, match="linear in the features"):
        continue_run(kernel.folder, strategy=FULL, on_event=quiet, head="kernel")


def test_without_a_strategy_it_is_asked_for_and_with_one_it_is_a_run_beside_the_old(
    photos: Path, tmp_path: Path
) -> None:
    probe = train(photos, out=tmp_path / "run", on_event=quiet, **KNOBS)
    with pytest.raises(RecipeError, match=r"last-stage, probe-then-full or auto.*--strategy"):
        continue_run(probe.folder, on_event=quiet)
    further = continue_run(probe.folder, strategy=FULL, on_event=quiet)
    assert further.folder.name == "run-2"
    assert further.record["recipe"]["strategy"] == "probe-then-full"


def test_a_classifier_that_became_worse_is_not_kept_and_that_is_said(fine_tuned: Run, tmp_path: Path) -> None:
    events: list[Event] = []
    # a rate that destroys the network
    further = continue_run(fine_tuned, out=tmp_path / "more", strategy=FULL, lr=0.5, on_event=events.append)

    assert further.classifier.backbone.fingerprint == fine_tuned.classifier.backbone.fingerprint
    assert np.array_equal(further.classifier.head.weight, fine_tuned.classifier.head.weight)
    assert further.evaluation.accuracy == fine_tuned.evaluation.accuracy
    (results,) = (event for event in events if isinstance(event, Results))
    assert any(warning.startswith("The previous classifier is kept") for warning in results.warnings)
    assert further.record["fine_tuning"]["verdict"] in results.warnings
    assert further.record["fine_tuning"]["gain"]["value"] < 0
    assert "The previous classifier is kept" in (further.folder / "report.html").read_text()


def test_an_interrupted_continuation_is_resumed_from_its_origin(fine_tuned: Run, tmp_path: Path) -> None:
    whole = continue_run(fine_tuned, out=tmp_path / "whole", strategy=FULL, epochs=2, force=True, on_event=quiet)

    def stop(event: Event) -> None:
        if isinstance(event, Progress) and event.step == "fine-tune" and event.done >= 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        continue_run(fine_tuned, out=tmp_path / "cut", strategy=FULL, epochs=2, force=True, on_event=stop)
    assert Job.find(tmp_path / "cut").origin == fine_tuned.folder.absolute()
    finished = resume(tmp_path / "cut", on_event=quiet)
    assert finished.classifier.backbone.fingerprint == whole.classifier.backbone.fingerprint


def test_changed_images_are_refused_since_test_images_might_be_trained_on(photos: Path, tmp_path: Path) -> None:
    mine = tmp_path / "photos"
    shutil.copytree(photos, mine)
    run = train(mine, out=tmp_path / "run", on_event=quiet, **KNOBS)
    next((mine / "disc").iterdir()).unlink()
    with pytest.raises(RunError, match="could now be trained on"):
        continue_run(run, strategy=FULL, on_event=quiet)
    assert continue_run(run, strategy=FULL, force=True, on_event=quiet).folder.name == "run-2"


@pytest.mark.parametrize(
    ("knobs", "word"),
    [
        ({"strategy": "auto", "backbone": "resnet18"}, "backbone"),
        ({"strategy": "auto", "size": 160}, "found 'size'"),
        ({"strategy": "probe"}, "--strategy"),
        ({"strategy": "full"}, "untrained head"),
    ],
)
def test_what_cannot_be_changed_is_said(fine_tuned: Run, knobs: dict[str, object], word: str) -> None:
    with pytest.raises(RecipeError, match=word):
        continue_run(fine_tuned, on_event=quiet, **knobs)
