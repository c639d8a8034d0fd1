"""runtime_onnx.py alone: copied beside a model, without headstart and torch, it gives the classifier's answers."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import headstart as hs
from headstart.backbones.preprocess import Preprocess
from headstart.data.images import ImageRules, open_image
from headstart.onnx_export.parity_images import odd_images

pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")

from headstart import runtime_onnx  # noqa: E402  # needs onnxruntime
from headstart.runtime_onnx import OnnxClassifier  # noqa: E402

ALONE = """
import runpy, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "torchvision", "headstart", "scipy", "onnx"}:
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocked())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def file(exported: Path) -> OnnxClassifier:
    return OnnxClassifier(exported / "classifier.onnx")


def test_it_is_short_enough_to_read() -> None:
    assert len(Path(runtime_onnx.__file__).read_text(encoding="utf-8").splitlines()) < 150


@pytest.mark.slow
def test_a_copy_beside_the_model_runs_alone(run: hs.Run, exported: Path, photos: Path, tmp_path: Path) -> None:
    paths = [str(path) for path in sorted(photos.rglob("*.png"))[:3]]
    (tmp_path / "bad.png").write_bytes(b"no image")
    command = [sys.executable, "-I", "-c", ALONE, str(exported / "runtime_onnx.py"), str(exported / "classifier.onnx")]

    answer = subprocess.run([*command, *paths, str(tmp_path / "bad.png")], capture_output=True, text=True)

    assert answer.returncode == 1, answer.stderr
    *lines, bad = map(json.loads, answer.stdout.splitlines())
    for line, expected in zip(lines, hs.predict(run, paths, on_event=None), strict=True):
        assert line["label"] == expected.label
        assert line["probabilities"] == pytest.approx(expected.probabilities, abs=0.005)
    assert "cannot be opened" in bad["error"]
    nowhere = subprocess.run([*command[:-1], "nowhere.onnx"], capture_output=True, text=True)
    assert nowhere.stderr.startswith("not an ONNX file of headstart: [Errno 2] No such file")
    assert "Traceback" not in nowhere.stderr


@pytest.mark.slow
def test_batch_and_single_images_give_the_same_rows(file: OnnxClassifier) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((40, 50), (200, 100), (3, 90))]

    found = file.run(*images)
    rows = found["probabilities"]

    assert rows.shape == (3, len(file.classes))
    assert rows.sum(1) == pytest.approx(1, abs=1e-6)
    for image, row in zip(images, rows, strict=True):
        assert np.array_equal(file.run(image)["probabilities"][0], row)
    assert found["scores"].argmax(1).tolist() == rows.argmax(1).tolist()
    assert found["features"].ndim == 2


def encoded(array: np.ndarray, format: str = "PNG", mode: str | None = None) -> bytes:
    kept = io.BytesIO()
    (Image.fromarray(array) if mode is None else Image.fromarray(array).convert(mode)).save(kept, format)
    return kept.getvalue()


@pytest.mark.slow
def test_images_are_opened_as_headstart_opens_them(file: OnnxClassifier) -> None:
    rng = np.random.default_rng(1)
    colours = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
    deep = rng.integers(0, 65536, (30, 40), dtype=np.uint16)
    files = {
        **odd_images(),
        "palette": encoded(colours, mode="P"),
        "cmyk": encoded(colours, "JPEG", mode="CMYK"),
        "16 bit": encoded(deep),
        "gif": encoded(colours, "GIF"),
        "webp": encoded(colours, "WEBP"),
    }
    rules = ImageRules(background=(255, 255, 255))
    for name, content in files.items():
        assert np.array_equal(file.open(content), open_image(content, rules).rgb), name


@pytest.mark.slow
def test_what_is_no_image_is_a_value_error(file: OnnxClassifier) -> None:
    floats = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.float32)).save(floats, "TIFF")
    large = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(large, "PNG")
    for content in (b"", b"text", odd_images()["grey"][:200], floats.getvalue(), large.getvalue()):
        with pytest.raises(ValueError):
            file.open(content)


@pytest.mark.slow
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
@pytest.mark.parametrize(("resize", "crop", "fit"), [(64, 56, "keep"), (40, 56, "keep"), (50, 50, "stretch")])
def test_prepared_images_are_those_of_preprocess(interpolation: str, resize: int, crop: int, fit: str) -> None:
    wanted = Preprocess(resize, crop, interpolation, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), fit)
    file = object.__new__(OnnxClassifier)
    file.card = {"preprocess": wanted.to_dict()}
    rng = np.random.default_rng(0)
    for height, width in ((1, 40), (333, 500), (500, 333), (17, 90), (56, 56), (1, 5000)):
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        difference = np.abs(file.prepare(image).astype(int) - wanted.prepare(image).numpy())
        assert difference.max() <= {"nearest": 0, "bilinear": 1, "bicubic": 2}[interpolation], (height, width)


@pytest.mark.slow
def test_a_file_that_is_no_classifier_is_refused(exported: Path) -> None:
    for content in (b"", b"text", (exported / "classifier.onnx").read_bytes()[:5000]):
        with pytest.raises(ValueError, match="not an ONNX file"):
            OnnxClassifier(content)


@pytest.mark.slow
@pytest.mark.parametrize("place", [0.3, 0.6, 0.9])
def test_a_file_in_which_one_bit_changed_is_refused(exported: Path, place: float) -> None:
    content = bytearray((exported / "classifier.onnx").read_bytes())
    content[int(len(content) * place)] ^= 1

    with pytest.raises(ValueError, match="not an ONNX file of headstart"):
        OnnxClassifier(bytes(content))


def altered(exported: Path, change: Callable[[Any], None], *, card: dict[str, object]) -> bytes:
    """The file as one of before 0.3, without a checksum, with another graph or other entries of its card."""
    model = onnx.load(exported / "classifier.onnx")
    change(model)
    facts = {one.key: one for one in model.metadata_props}
    facts["headstart"].value = json.dumps({**json.loads(facts["headstart"].value), **card})
    model.metadata_props.remove(facts[runtime_onnx.SEAL])
    return model.SerializeToString()


def spoil(model: Any) -> None:
    """NaN in the largest tensor of weights."""
    largest = max(model.graph.initializer, key=lambda one: len(one.raw_data) if one.data_type == 1 else 0)
    largest.CopyFrom(
        onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(largest) * np.float32("nan"), largest.name)
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "card",
    [{"classes": "ab"}, {"classes": ["a", "a"]}, {"classes": [1, 2]}, {"classes": None}, {"familiarity": 5},
     {"familiarity": {"threshold": "x"}}],
)  # fmt: skip
def test_a_card_that_makes_no_sense_is_refused(exported: Path, card: dict[str, object]) -> None:
    assert OnnxClassifier(altered(exported, lambda model: None, card={})).classes

    with pytest.raises(ValueError, match="not an ONNX file of headstart"):
        OnnxClassifier(altered(exported, lambda model: None, card=card))


@pytest.mark.slow
def test_answers_that_are_no_numbers_are_refused(exported: Path) -> None:
    file = OnnxClassifier(altered(exported, spoil, card={}))

    with pytest.raises(ValueError, match="answers are no numbers"):
        file.run(np.zeros((40, 40, 3), np.uint8))


def with_card(file: Path, **changed: Any) -> bytes:
    """An exported file with another card, and without its checksum; None: the entry is taken away."""
    model = onnx.load(file)
    facts = {prop.key: prop.value for prop in model.metadata_props if prop.key != runtime_onnx.SEAL}
    card = {**json.loads(facts["headstart"]), **changed}
    card = {name: value for name, value in card.items() if value is not None}
    onnx.helper.set_model_props(model, {**facts, "headstart": json.dumps(card)})
    content: bytes = model.SerializeToString()
    return content


def test_class_names_that_differ_by_spaces_are_names_of_their_own(exported: Path) -> None:
    file, count = exported / "classifier.onnx", len(OnnxClassifier(exported / "classifier.onnx").classes)
    names = [" " * i + "rock" for i in range(count)]

    assert OnnxClassifier(with_card(file, classes=names)).classes == tuple(names)


def test_classes_that_are_no_list_of_names_are_refused(exported: Path) -> None:
    file, count = exported / "classifier.onnx", len(OnnxClassifier(exported / "classifier.onnx").classes)
    names = [" " * i + "rock" for i in range(count)]

    for classes in ([*names[:-1], names[0]], [*names[:-1], " "], dict.fromkeys(names, 1), "abcdefgh"[:count]):
        with pytest.raises(ValueError, match="not those of its classes"):
            OnnxClassifier(with_card(file, classes=classes))


@pytest.mark.slow
def test_a_card_of_another_preparation_than_the_network_takes_is_refused(run: hs.Run, tmp_path: Path) -> None:
    hs.export(run, out=tmp_path / "e", input="prepared", on_event=None)
    file = tmp_path / "e" / "classifier.onnx"
    card = OnnxClassifier(file).card["preprocess"]

    for preprocess in ({**card, "crop": 7}, {**card, "interpolation": "none"}, None):
        with pytest.raises(ValueError, match="not an ONNX file of headstart"):
            OnnxClassifier(with_card(file, preprocess=preprocess))
