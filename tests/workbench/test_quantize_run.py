"""A run in int8: the classifier that a training in int8 makes, measured in pairs; what cannot be had is refused."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import headstart as hs

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from headstart.workbench.quantize_run import _held_out, quantize_run
from headstart.workbench.run_rows import RunRows
from headstart.workbench.session import Session
from headstart.workbench.solve_again import head_difference


@pytest.mark.slow
def test_it_is_the_classifier_of_a_training_in_int8(run: hs.Run, photos: Path, tmp_path: Path) -> None:
    options = {"backbone": "embedded", "precision": "int8", "inside": False}
    trained = hs.train(photos, out=tmp_path / "int8", on_event=None, **options)

    found = quantize_run(Session(), run)

    expected, model = trained.classifier, found.classifier
    assert model.backbone.fingerprint == expected.backbone.fingerprint  # the quantised network, byte for byte
    assert head_difference(expected, model) < 1e-6
    assert model.familiarity is not None
    assert expected.familiarity is not None
    np.testing.assert_allclose(model.familiarity.distances, expected.familiarity.distances, atol=1e-6)
    assert found.accuracy == hs.compare(run, trained)
    assert model.card.precision == "int8"
    assert run.classifier.card.precision == "float32"  # as it was


@pytest.mark.slow
def test_a_fine_tuned_network_keeps_its_head(fine_tuned: hs.Run, photos: Path) -> None:
    old = fine_tuned.classifier

    found = quantize_run(Session(), fine_tuned)

    model, files = found.classifier, [row["path"] for row in fine_tuned.predictions() if row["split"] == "test"]
    np.testing.assert_array_equal(model.head.weight, old.head.weight)
    assert (model.card.precision, model.card.head) == ("int8", "trained")
    assert model.head.temperature == pytest.approx(old.head.temperature, rel=0.1)  # rounding moves scores a little
    assert model.head.temperature != old.head.temperature
    assert model.familiarity is not None
    answers = model.predict([photos / name for name in files])
    correct = [answer.label == Path(name).parent.name for answer, name in zip(answers, files, strict=True)]
    assert found.accuracy.b.value == pytest.approx(np.mean(correct))  # as the classifier itself answers
    assert found.accuracy.a.value == fine_tuned.evaluation.accuracy.value
    assert model.card.metrics["accuracy"]["value"] == found.accuracy.b.value


@pytest.mark.slow
def test_what_was_held_out_is_found_again_by_the_temperature_it_gives(fine_tuned: hs.Run) -> None:
    train, held = _held_out(fine_tuned, RunRows.of(fine_tuned))
    assert fine_tuned.record["fine_tuning"]["held_out"]["images"] == len(held) > 0
    assert not set(train) & set(held)

    other = replace(fine_tuned, record={**fine_tuned.record, "recipe": {**fine_tuned.record["recipe"], "seed": 1}})
    with pytest.raises(hs.RunError, match="which gave the temperature"):
        _held_out(other, RunRows.of(other))


@pytest.mark.slow
def test_missing_images_are_refused(photos: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(photos, tmp_path / "photos")
    own = hs.train(copy, out=tmp_path / "own", backbone="embedded", inside=False, on_event=None)
    shutil.rmtree(copy / "disc")
    with pytest.raises(hs.DataError, match="no longer in"):
        quantize_run(Session(), own)
