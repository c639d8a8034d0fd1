"""measure_parity: each image goes through both, from its file on."""

from __future__ import annotations

from pathlib import Path

import pytest

import headstart as hs
from headstart.errors import ClassifierError

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from headstart.onnx_export.parity import measure_parity  # noqa: E402  # needs onnx


@pytest.mark.slow
def test_a_file_that_cannot_be_run_is_an_error_of_ours(run: hs.Run, exported: Path, photos: Path) -> None:
    model, one = onnx.load(exported / "classifier.onnx"), sorted(photos.rglob("*.png"))[0]
    for index in range(len(model.metadata_props)):
        if model.metadata_props[index].key == "headstart-sha256":
            model.metadata_props[index].value = "0" * 64

    with pytest.raises(ClassifierError, match="an ONNX file that answers"):
        measure_parity(model, run.classifier, {"file": one})


@pytest.mark.slow
def test_files_and_bytes_are_compared_and_bad_ones_left_out(run: hs.Run, exported: Path, photos: Path) -> None:
    model, one = onnx.load(exported / "classifier.onnx"), sorted(photos.rglob("*.png"))[0]

    report = measure_parity(model, run.classifier, {"file": one, "bytes": one.read_bytes(), "bad": b"no image"})

    first, second = report.rows
    assert (first.name, second.name) == ("file", "bytes")
    assert first.difference == second.difference
    assert first.expected == hs.predict(run, one, on_event=None)[0].label
    assert list(report.left_out) == ["bad"]
    assert report.problems == ()
    assert report.distance is not None  # the run's classifier knows its training images
    assert report.distance < 1e-3
    assert report.set_agreement == 1
