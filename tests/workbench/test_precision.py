"""A training in low precision: the network it was measured with is the one in its file, everywhere the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import headstart as hs
from headstart.backbones.backbone import load_backbone
from headstart.classifier.classifier import Classifier
from headstart.errors import BackboneError, ClassifierError, DataError, RecipeError, RunError
from headstart.progress import Event, Notice
from headstart.workbench import starting_point


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> hs.Run:
    """An int8 run on drawn photos."""
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("int8")
    return hs.train(photos, out=folder / "run", backbone="embedded", precision="int8", inside=False, on_event=None)


def rows(run: hs.Run) -> dict[str, list[float]]:
    """Path → probabilities, from predictions.csv."""
    names = [f"p({name})" for name in run.classifier.classes]
    return {row["path"]: [float(row[name]) for name in names] for row in run.predictions()}


@pytest.mark.slow
def test_the_file_predicts_what_was_measured(run: hs.Run, photos: Path, tmp_path: Path) -> None:
    """Also alone, in another folder, with another cache, and after it was saved again."""
    elsewhere = shutil.copy(run.folder / "classifier.safetensors", tmp_path / "c.safetensors")
    model = Classifier.load(elsewhere)
    again = Classifier.load(model.save(tmp_path / "again.safetensors"))
    assert (tmp_path / "again.safetensors").read_bytes() == Path(elsewhere).read_bytes()
    measured = rows(run)
    for one in (model, again):
        answers = one.predict([photos / name for name in measured])
        for answer, expected in zip(answers, measured.values(), strict=True):
            found = [answer.probabilities[name] for name in one.classes]
            np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.slow
def test_the_file_is_smaller_and_says_what_it_is(run: hs.Run, run_folder: Path) -> None:
    """A float32 number for a byte and some words about the graph."""
    small = (run.folder / "classifier.safetensors").stat().st_size
    float32 = (run_folder / "classifier.safetensors").stat().st_size
    assert small < 0.45 * float32
    assert run.classifier.card.precision == "int8"
    assert "calibrated on training images" in run.record["plan"]["precision"]
    assert run.record["engine"] == "onnxruntime"


@pytest.mark.slow
def test_the_head_was_solved_on_the_quantised_features(run: hs.Run) -> None:
    contents = dict(zip(run.features.names, range(len(run.features.names)), strict=True))
    model, names = run.classifier, list(contents)[:8]
    root = Path(run.record["source"])
    pixels = torch.stack([model.backbone.preprocess.prepare(_rgb(model, root / name)) for name in names])
    with torch.inference_mode():
        features = model.backbone.features(model.backbone.preprocess.normalise(pixels)).numpy()
        float32 = model.backbone.plain_features(model.backbone.preprocess.normalise(pixels)).numpy()
    stored = np.array(run.features.matrix[[contents[name] for name in names]])
    np.testing.assert_allclose(features, stored, rtol=1e-5, atol=1e-6)
    assert np.abs(float32 - stored).max() > 1e-3 * np.abs(stored).max()


def _rgb(model: Classifier, path: Path) -> np.ndarray:
    from headstart.data.images import open_image

    return open_image(path, model.rules).rgb


@pytest.mark.slow
def test_evaluate_and_explain_use_the_run_beside_it(run: hs.Run, photos: Path) -> None:
    found = hs.evaluate(run, photos, on_event=None)
    assert "kNN" in found.evaluation.to_dict()["baselines"]
    told: list[Event] = []
    (one,) = hs.explain(run, next(photos.glob("*/*.png")), on_event=told.append)
    assert one.similar
    said = [event.text for event in told if isinstance(event, Notice)]
    assert said == ["It predicts in int8; the maps are of the same weights in float32, which has gradients."]


@pytest.mark.slow
def test_what_needs_float32_weights_says_so(run: hs.Run, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ClassifierError, match="one in int8"):
        hs.recalibrate(run, photos, out=tmp_path / "r.safetensors", on_event=None)
    with pytest.raises(RunError, match="run in float32"):
        starting_point.continue_from(run)
    for options in ({"strategy": "full"}, {"device": "meta"}):
        with pytest.raises(RecipeError):
            hs.train(photos, out=tmp_path / "x", precision="int8", on_event=None, **options)
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_its_export_computes_in_int8_too_and_gives_its_answers(run: hs.Run, photos: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    result = hs.export(run, out=tmp_path / "export", on_event=None)

    assert result.parity.agreement == 1
    assert (result.parity.tolerance, result.parity.same_pixels_tolerance) == (0.1, 1e-4)
    assert (
        max(row.difference for row in result.parity.rows) <= 0.02
    )  # here; the bound is wider, for networks of which a grey level moves more
    model = onnx.load(tmp_path / "export" / "classifier.onnx")
    low = run.classifier.backbone.low_precision
    assert low is not None
    own = onnx.load_from_string(low.model)
    counts = [sum(node.op_type == "QuantizeLinear" for node in one.graph.node) for one in (model, own)]
    assert counts[0] == counts[1] > 10
    assert max(one.version for one in model.opset_import) <= 21
    assert model.ir_version <= 10
    image = sorted(photos.rglob("*.png"))[0]
    (found,) = hs.predict(tmp_path / "export" / "classifier.onnx", image, on_event=None)
    row = next(row for row in result.parity.rows if row.name == str(image))
    assert list(found.probabilities) == sorted(found.probabilities, key=lambda name: -found.probabilities[name])
    expected = dict(zip(result.parity.classes, row.found_probabilities, strict=True))
    assert found.probabilities == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow
def test_a_backbone_of_the_user_stays_float32(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    backbone = load_backbone("embedded")
    before = {name: tensor.clone() for name, tensor in backbone.state().items()}
    run = hs.train(photos, out=tmp_path / "run", backbone=backbone, precision="int8", inside=False, on_event=None)
    assert run.classifier.backbone.low_precision is not None
    assert backbone.low_precision is None
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state().items())


def test_missing_packages_are_said_before_anything_is_read(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.engines.onnxruntime_engine.missing_packages", lambda: ("onnxruntime",))
    with pytest.raises(BackboneError, match=r"headstart\[onnx\]"):
        hs.train(tmp_path / "nothing", precision="int8", on_event=None)


def test_with_a_gpu_int8_stays_on_the_processor_unless_the_gpu_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.runtime.choose_device", lambda name="auto": "cuda" if name == "auto" else name)
    with pytest.raises(RecipeError, match=r"the CPU, found cuda \(--precision int8\)"):
        hs.train(tmp_path / "nothing", precision="int8", device="cuda", on_event=None)
    with pytest.raises(DataError, match="nothing"):  # the next thing that is wrong
        hs.train(tmp_path / "nothing", precision="int8", on_event=None)


@pytest.mark.slow
def test_bfloat16_keeps_the_float32_weights_and_is_close(photos: Path, tmp_path: Path, run_folder: Path) -> None:
    from headstart.engines.bfloat16 import has_bfloat16

    if not has_bfloat16():
        with pytest.raises(BackboneError, match="multiplies bfloat16"):
            hs.train(photos, out=tmp_path / "run", precision="bfloat16", on_event=None)
        return
    run = hs.train(photos, out=tmp_path / "run", backbone="embedded", precision="bfloat16", inside=False, on_event=None)
    float32, low = hs.Run.load(run_folder).classifier, Classifier.load(run.folder)
    assert low.card.precision == "bfloat16"
    with pytest.raises(ClassifierError, match="one in bfloat16"):
        hs.export(run, out=tmp_path / "export", on_event=None)
    assert low.backbone.fingerprint != float32.backbone.fingerprint
    assert all(torch.equal(t, float32.backbone.state()[name]) for name, t in low.backbone.state().items())
    measured = rows(run)
    apart = [
        abs(model.predict(photos / name).probabilities[label] - value)
        for name, values in list(measured.items())[:12]
        for model in (low,)
        for label, value in zip(model.classes, values, strict=True)
    ]
    assert max(apart) < 0.02
