"""predict with an ONNX file: the classifier's answers without torch."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import headstart as hs
from headstart.errors import ClassifierError, RecipeError
from headstart.workbench.predict_onnx import is_onnx

BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "torchvision", "scipy", "onnx", "onnxscript", "safetensors", "timm"}:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked())
from headstart.cli.main import main
main(sys.argv[1:])
"""


@pytest.mark.slow
def test_an_onnx_file_gives_the_classifiers_answers(run: hs.Run, exported: Path, photos: Path) -> None:
    expected = hs.predict(run, photos, on_event=None)

    found = hs.predict(exported / "classifier.onnx", photos, on_event=None)

    assert [(one.name, one.label) for one in found] == [(one.name, one.label) for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=0.005)
        assert (one.nearest_image, one.prediction_set) == (other.nearest_image, other.prediction_set)


def test_workers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="Leave out --on"):
        hs.predict(tmp_path / "classifier.onnx", tmp_path, on="local", on_event=None)


@pytest.mark.slow
def test_the_command_needs_no_torch(exported: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    table, sorted_into = tmp_path / "t.csv", tmp_path / "sorted"
    arguments = [str(exported / "classifier.onnx"), str(photos / "disc"), str(tmp_path / "bad.png")]
    options = ["--csv", str(table), "--sort-into", str(sorted_into)]

    answer = subprocess.run(
        [sys.executable, "-c", BLOCKED, "predict", *arguments, *options],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )

    assert answer.returncode == 1, answer.stderr  # one image cannot be read
    assert "17 images: 16 disc, 1 unreadable" in answer.stdout
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["predicted"] for row in rows] == ["disc"] * 16 + [""]
    assert len(list((sorted_into / "disc").iterdir())) == 16
    assert [path.name for path in (sorted_into / "_unreadable").glob("[!.]*")] == ["bad.png"]


def test_a_file_that_is_none_is_refused_with_its_reason(run: hs.Run, photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "damaged.onnx").write_bytes((run.folder / "classifier.safetensors").read_bytes()[:1000])
    (tmp_path / "folder.onnx").mkdir()

    for name, found in (("damaged", "not an ONNX file"), ("none", "no such file"), ("folder", "a folder")):
        with pytest.raises(ClassifierError, match=found):
            hs.predict(tmp_path / f"{name}.onnx", photos / "disc", on_event=None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "changes", "said"),
    [
        ("metrics", {"accuracy": {"value": 7, "low": 0, "high": 9, "n": 3}}, "accuracy is 7"),
        ("data", {"images": -4}, "images is -4"),
        ("data", {"classes": ["other", "names"]}, "not those of its training images"),
        ("familiarity", {"rate": 5}, "rate is 5"),
        ("familiarity", {"threshold": -1.0}, "a threshold of -1 for distances"),
    ],
)
def test_numbers_that_make_no_sense_are_refused_whatever_the_checksum_says(
    exported: Path, photos: Path, tmp_path: Path, part: str, changes: dict[str, object], said: str
) -> None:
    onnx = pytest.importorskip("onnx")
    from headstart.onnx_export.onnx_file import sealed
    from headstart.runtime_onnx import SEAL

    model = onnx.load(exported / "classifier.onnx")
    facts = {prop.key: prop.value for prop in model.metadata_props if prop.key != SEAL}
    card = json.loads(facts["headstart"])
    card[part] = {**card[part], **changes}
    onnx.helper.set_model_props(model, {**facts, "headstart": json.dumps(card)})
    (tmp_path / "a.onnx").write_bytes(sealed(model))

    with pytest.raises(ClassifierError, match=said):
        hs.predict(tmp_path / "a.onnx", photos / "disc", on_event=None)


@pytest.mark.slow
def test_an_option_without_effect_is_refused(exported: Path, photos: Path) -> None:
    with pytest.raises(RecipeError, match="--engine"):
        hs.predict(exported / "classifier.onnx", photos / "disc", engine="eager", on_event=None)
    assert hs.predict(exported / "classifier.onnx", photos / "disc", offline=True, on_event=None)


def test_the_name_of_a_file_says_whether_it_is_an_onnx_file() -> None:
    assert is_onnx("X.ONNX")
    assert not is_onnx("run")
