"""ServedOnnx: the ONNX file gives predict's answers too, and says what it cannot do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import headstart as hs
from headstart.data.images import ImageRules
from headstart.errors import RecipeError
from headstart.serving.served_classifier import ServedClassifier
from headstart.serving.served_onnx import ServedOnnx
from headstart.workbench.predict_onnx import open_onnx


@pytest.mark.slow
def test_an_onnx_file_is_served_as_it_predicts(run: hs.Run, exported: Path, photos: Path) -> None:
    file, image = exported / "classifier.onnx", sorted(photos.rglob("*.png"))[0]
    served = ServedOnnx(open_onnx(file), pixels=10_000_000, rules=replace(ImageRules(), keep_damaged=True))

    found = served.predict(image.read_bytes())

    assert found.probabilities == hs.predict(file, image, on_event=None)[0].probabilities
    features = served.embed(image.read_bytes())
    assert np.linalg.norm(features) ** 2 == pytest.approx(len(run.classifier.head.stages), rel=1e-5)  # unit stages
    _, compared = served.measured(image.read_bytes())
    _, expected = ServedClassifier(run.classifier, pixels=10_000_000).measured(image.read_bytes())
    assert compared is not None
    assert expected is not None
    assert float(compared @ expected) > 0.9999  # the resize differs by a grey level here and there
    assert served.training is not None
    assert run.classifier.familiarity is not None
    assert served.training.mean == pytest.approx(run.classifier.familiarity.training_mean, abs=1e-5)
    assert served.training.images == len(run.classifier.familiarity.rows)
    with pytest.raises(RecipeError, match="no gradients"):
        served.explain(image.read_bytes(), None)
