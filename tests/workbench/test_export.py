"""export: a folder that runs anywhere, written only when the file gives the classifier's answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import headstart as hs
from headstart.errors import ClassifierError, DataError, RecipeError, RunError

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

from headstart.runtime_onnx import SEAL  # noqa: E402  # needs onnxruntime


@pytest.mark.slow
def test_the_folder_holds_the_model_its_report_and_what_runs_it(exported: Path) -> None:
    names = sorted(path.name for path in exported.iterdir())
    parity = json.loads((exported / "parity.json").read_text(encoding="utf-8"))

    assert names == ["classifier.onnx", "parity.html", "parity.json", "runtime_onnx.py"]
    assert parity["passed"] is True
    assert parity["agreement"] == 1
    assert parity["images"] == 48 + 13  # all images of the run, and those of unusual shape and kind
    assert parity["largest_difference"] <= parity["tolerance"] == 0.01
    assert "12 megapixels" in {row["name"] for row in parity["rows"]}
    for row in parity["rows"]:
        pair = np.array([row["expected_probabilities"], row["found_probabilities"]])
        assert pair.sum(axis=1) == pytest.approx(1, abs=1e-5)
        assert np.abs(pair[0] - pair[1]).max() == pytest.approx(row["difference"], abs=1e-12)
        assert parity["classes"][int(pair[1].argmax())] == row["found"]


@pytest.mark.slow
def test_the_model_is_one_that_older_runtimes_read(exported: Path, run: hs.Run) -> None:
    model = onnx.load(exported / "classifier.onnx")
    onnx.checker.check_model(model, full_check=True)
    facts = {one.key: one.value for one in model.metadata_props}

    assert model.opset_import[0].version <= 21
    assert model.ir_version <= 10
    assert json.loads(facts["headstart"]) == json.loads(run.classifier.card.to_json())
    assert [one.name for one in model.graph.input] == ["image"]
    assert [one.name for one in model.graph.output] == [
        *["probabilities", "scores", "features"],
        *["familiar", "nearest", "set", "atypical"],
    ]


Mistake = Callable[[Any], None]


def bgr(model: Any) -> None:
    """Channels in the order of OpenCV."""
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([2, 1, 0]), "order"))
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name == "image":
                node.input[index] = "turned"
    model.graph.node.insert(0, onnx.helper.make_node("Gather", ["image", "order"], ["turned"], axis=2))


def no_mean(model: Any) -> None:
    """Pixels are scaled, but the mean is not subtracted."""
    _, shift = (one for one in model.graph.initializer if list(one.dims) == [3, 1, 1])
    shift.CopyFrom(onnx.numpy_helper.from_array(np.zeros((3, 1, 1), np.float32), shift.name))


def no_antialias(model: Any) -> None:
    """What most exporters write."""
    (resize,) = (node for node in model.graph.node if node.op_type == "Resize" and node.name.startswith("headstart"))
    for attribute in resize.attribute:
        if attribute.name in ("antialias", "exclude_outside"):  # the second is allowed with the first alone
            attribute.i = 0


def no_temperature(model: Any) -> None:
    """Probabilities that were never calibrated."""
    softmax = next(node for node in reversed(model.graph.node) if node.op_type == "Softmax")
    (division,) = (node for node in model.graph.node if node.output[0] == softmax.input[0])
    (temperature,) = (one for one in model.graph.initializer if one.name == division.input[1])
    temperature.CopyFrom(onnx.numpy_helper.from_array(np.array(1.0), temperature.name))


def wrong_width(model: Any) -> None:
    """A kernel that is wider than the classifier's."""
    (exp,) = (node for node in model.graph.node if node.op_type == "Exp")
    (product,) = (node for node in model.graph.node if node.output[0] == exp.input[0])
    (gamma,) = (one for one in model.graph.initializer if one.name == product.input[1])
    half = onnx.numpy_helper.to_array(gamma) / 2
    gamma.CopyFrom(onnx.numpy_helper.from_array(half, gamma.name))


@pytest.mark.slow
def test_a_head_with_a_kernel_is_exported_and_a_wrong_width_is_noticed(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.onnx_export.classifier_onnx import build_onnx

    run = hs.train(photos, out=tmp_path / "run", backbone="embedded", head="kernel", inside=False, on_event=None)
    assert run.classifier.head.kernel is not None
    result = hs.export(run, images=photos / "disc", out=tmp_path / "out", on_event=None)
    assert result.parity.agreement == 1

    def broken(*arguments: Any, **options: Any) -> Any:
        model = build_onnx(*arguments, **options)
        wrong_width(model)
        return model

    monkeypatch.setattr("headstart.onnx_export.classifier_onnx.build_onnx", broken)
    with pytest.raises(ClassifierError, match="Nothing was written"):
        hs.export(run, images=photos / "disc", out=tmp_path / "wrong", on_event=None)
    assert not (tmp_path / "wrong").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "mistake", [bgr, *(pytest.param(one, marks=pytest.mark.slow) for one in (no_mean, no_antialias, no_temperature))]
)
def test_a_planted_mistake_makes_the_export_fail_and_nothing_is_written(
    mistake: Mistake, run: hs.Run, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = onnx.load(exported / "classifier.onnx")
    model.metadata_props.remove(next(one for one in model.metadata_props if one.key == SEAL))  # as it was built
    mistake(model)
    monkeypatch.setattr("headstart.onnx_export.classifier_onnx.build_onnx", lambda *_, **__: model)
    monkeypatch.setattr("headstart.workbench.export.COMPARED", 4)

    with pytest.raises(ClassifierError, match="Nothing was written"):
        hs.export(run, out=tmp_path / "out", on_event=None)
    assert not (tmp_path / "out").exists()


def test_a_classifier_without_its_run_needs_images(run: hs.Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--images"):
        hs.export(run.classifier, out=tmp_path / "out", on_event=None)


def test_a_format_that_is_not_known_is_refused_before_anything_is_done(run: hs.Run) -> None:
    with pytest.raises(RecipeError, match="onnx"):
        hs.export(run, to="onxn", on_event=None)
    with pytest.raises(RecipeError, match="prepared"):
        hs.export(run, input="prepare", on_event=None)


@pytest.mark.slow
def test_a_float32_run_is_written_in_int8_with_its_accuracy_beside_it(
    run: hs.Run, photos: Path, tmp_path: Path
) -> None:
    result = hs.export(run, to="onnx-int8", out=tmp_path / "out", on_event=None)

    assert set(result.files) == {path.name for path in (tmp_path / "out").iterdir()}
    assert "classifier.safetensors" in result.files
    small, large = (tmp_path / "out" / "classifier.onnx").stat().st_size, run.folder / "classifier.safetensors"
    assert small < 0.5 * large.stat().st_size
    parity = json.loads((tmp_path / "out" / "parity.json").read_text(encoding="utf-8"))
    assert parity["largest_difference_on_same_pixels"] <= 1e-6
    assert parity["accuracy"]["n"] == len(run.predictions("test"))
    assert parity["accuracy"]["a"]["value"] == run.evaluation.accuracy.value
    page = (tmp_path / "out" / "parity.html").read_text(encoding="utf-8")
    assert "Accuracy of int8 and float32" in page
    checked = hs.check(tmp_path / "out" / "classifier.onnx", photos / "disc", on_event=None)
    assert checked.same_classifier
    assert checked.passed


@pytest.mark.slow
def test_int8_that_loses_too_much_is_not_written(run: hs.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: a head that was not solved again, with its classes in another order."""
    from headstart.workbench import quantize_run
    from headstart.workbench.solve_again import solve_again

    def shifted(*arguments: Any, **options: Any) -> Any:
        solved = solve_again(*arguments, **options)
        made = solved.classifier
        made.head = replace(made.head, weight=np.roll(made.head.weight, 1, axis=1))
        return solved

    monkeypatch.setattr(quantize_run, "solve_again", shifted)
    monkeypatch.setattr("headstart.workbench.export.COMPARED", 4)
    with pytest.raises(ClassifierError, match="int8 is less accurate than float32"):
        hs.export(run, to="onnx-int8", out=tmp_path / "out", on_event=None)
    assert not (tmp_path / "out").exists()


def test_int8_needs_the_run_of_a_classifier(run: hs.Run, tmp_path: Path) -> None:
    with pytest.raises(ClassifierError, match="training images"):
        hs.export(run.classifier, to="onnx-int8", out=tmp_path / "out", on_event=None)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_prepared_images_go_in_by_the_batch(run: hs.Run, photos: Path, tmp_path: Path) -> None:
    from headstart.data.images import open_image
    from headstart.runtime_onnx import OnnxClassifier

    result = hs.export(run.classifier, input="prepared", images=photos, out=tmp_path / "out", on_event=None)

    assert result.input == "prepared"
    classifier = run.classifier
    pixels = [open_image(path).rgb for path in sorted(photos.rglob("*.png"))[:7]]
    batch = np.stack([classifier.backbone.preprocess.prepare(one).numpy() for one in pixels])
    expected = [[p.probabilities[name] for name in classifier.classes] for p in classifier.predict(pixels)]
    file = OnnxClassifier(tmp_path / "out" / "classifier.onnx")
    for count in (1, 2, 7):
        (found,) = file.session.run(["probabilities"], {"prepared": batch[:count]})
        assert found == pytest.approx(np.array(expected[:count]), abs=1e-6)


@pytest.mark.parametrize("name", ["classifier.onnx", "runtime_onnx.py", "parity.html", "classifier.json"])
def test_what_no_export_wrote_is_not_replaced(run: hs.Run, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(RunError, match=f"{name}, which would be replaced or belongs to another export"):
        hs.export(run, out=tmp_path, on_event=None)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "mine")]


def test_a_link_in_the_place_of_the_model_is_not_followed(run: hs.Run, tmp_path: Path) -> None:
    photo, out = tmp_path / "photo.jpg", tmp_path / "out"
    photo.write_bytes(b"a photograph")
    out.mkdir()
    (out / "classifier.onnx").symlink_to(photo)
    with pytest.raises(RunError, match=r"classifier\.onnx, which would be replaced"):
        hs.export(run, out=out, on_event=None)
    assert photo.read_bytes() == b"a photograph"


@pytest.mark.parametrize(("name", "to"), [("classifier.json", "onnx"), ("classifier.safetensors", "onnx-int8")])
def test_an_export_of_another_form_or_a_run_is_no_older_one(run: hs.Run, tmp_path: Path, name: str, to: str) -> None:
    for file in ("parity.json", "run.json", name):
        (tmp_path / file).write_text("{}")
    with pytest.raises(RunError, match=f"{name}, which would be replaced or belongs to another export"):
        hs.export(run, to=to, out=tmp_path, on_event=None)
