"""OpenVINO in the place of onnxruntime: the same answers for resized images, others are noticed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import headstart as hs
from headstart.errors import ClassifierError
from headstart.onnx_export.openvino_session import OpenVinoSession, require_openvino


@pytest.mark.skipif(importlib.util.find_spec("openvino") is not None, reason="OpenVINO is installed")
def test_without_openvino_it_is_said_how_to_get_it(run: hs.Run, tmp_path: Path) -> None:
    with pytest.raises(ClassifierError, match="pip install openvino"):
        require_openvino()
    pytest.importorskip("onnxscript")
    with pytest.raises(ClassifierError, match="pip install openvino"):
        hs.export(run, to="openvino", out=tmp_path / "out", on_event=None)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_resized_images_get_the_same_answers_and_whole_ones_do_not(run: hs.Run, photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    from headstart.onnx_export.classifier_onnx import build_onnx
    from headstart.onnx_export.parity import measure_parity
    from headstart.onnx_export.parity_images import odd_images

    result = hs.export(run, to="openvino", images=photos / "disc", out=tmp_path / "out", on_event=None)
    assert result.parity.engine == "openvino"
    assert result.input == "prepared"
    assert result.parity.largest <= 0.01
    session = OpenVinoSession((tmp_path / "out" / "classifier.onnx").read_bytes())
    side = run.classifier.backbone.preprocess.crop
    rows, scores = session.run(["probabilities", "scores"], {"prepared": np.zeros((2, 3, side, side), np.uint8)})
    assert rows.shape == scores.shape == (2, len(run.classifier.classes))

    large = {"12 megapixels": odd_images()["12 megapixels"]}
    report = measure_parity(build_onnx(run.classifier), run.classifier, large, engine="openvino")
    assert report.problems  # its resize has no antialias
