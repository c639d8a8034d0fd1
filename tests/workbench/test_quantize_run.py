"""A run in int8: the classifier that a training in int8 makes, measured in pairs; what cannot be had is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import headstart as hs

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from headstart.workbench.quantize_run import quantize_run
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
def test_a_fine_tuned_network_and_missing_images_are_refused(fine_tuned: hs.Run, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(hs.RunError, match="fine-tuned"):
        quantize_run(Session(), fine_tuned)
    copy = shutil.copytree(photos, tmp_path / "photos")
    own = hs.train(copy, out=tmp_path / "own", backbone="embedded", inside=False, on_event=None)
    shutil.rmtree(copy / "disc")
    with pytest.raises(hs.DataError, match="no longer in"):
        quantize_run(Session(), own)
