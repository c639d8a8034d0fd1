"""add_class: equal to a training on all classes at once; images that the run has are left out; mistakes are named."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import headstart as hs


@pytest.mark.slow
def test_a_class_added_later_equals_a_training_on_all_at_once(photos: Path, tmp_path: Path) -> None:
    for name in ("disc", "stripes"):
        shutil.copytree(photos / name, tmp_path / "two" / name)
    options = {"backbone": "embedded", "inside": False, "on_event": None}
    old = hs.train(tmp_path / "two", out=tmp_path / "old", **options)
    new_class = Path(shutil.copytree(photos / "square", tmp_path / "more" / "square"))
    shutil.copy(next((photos / "disc").iterdir()), new_class / "again.png")  # the run has it: left out
    found = hs.add_class(old, new_class, on_event=None)

    run = hs.Run.load(found.folder)
    places = {path.name: path for path in photos.rglob("*.png")}
    lines = ["path,label,split"]
    lines += [f"{places[Path(row['path']).name]},{row['label']},{row['split']}" for row in run.predictions()]
    table = tmp_path / "all.csv"
    table.write_text("\n".join(lines), "utf-8")
    at_once = hs.train(table, out=tmp_path / "at_once", **options)

    assert (found.name, found.images, found.left_out) == ("square", 16, 1)
    said = "Class square added by headstart add-class: 16 images, 3 of them for the test."
    assert said in (run.folder / "report.html").read_text("utf-8")
    assert said in hs.card(run).text
    assert run.classifier.classes == at_once.classifier.classes == ("disc", "square", "stripes")
    first, second = run.classifier.head, at_once.classifier.head
    np.testing.assert_allclose(first.weight, second.weight, rtol=0, atol=1e-12 * np.abs(second.weight).max())
    np.testing.assert_allclose(first.bias, second.bias, rtol=0, atol=1e-12)
    assert run.evaluation.accuracy == at_once.evaluation.accuracy
    assert found.tested == run.record["data"]["counts"]["test"]["square"] == 3
    image = places[Path(run.predictions("test")[0]["path"]).name]
    assert run.classifier.predict(image).label == run.predictions("test")[0]["predicted"]
    assert found.folder != old.folder
    assert f"headstart predict {found.folder}/classifier.safetensors" in (found.folder / "report.html").read_text(
        "utf-8"
    )


@pytest.mark.slow
def test_images_that_cannot_be_read_are_said(run: hs.Run, photos: Path, tmp_path: Path) -> None:
    images = tmp_path / "grey"
    images.mkdir()
    for number in range(30):
        Image.new("RGB", (32, 32), (number * 8,) * 3).save(images / f"{number}.png")
    shutil.copy(next((photos / "disc").iterdir()), images / "again.png")
    (images / "broken.png").write_bytes(b"no image")
    found = hs.add_class(run, images, out=tmp_path / "new", on_event=None)
    assert len(found.doubtful) == 1
    assert "1 image cannot be read" in found.doubtful[0]
    assert "broken.png" in found.doubtful[0]
    assert "1 image of it was in the run already and is left out. 1 image cannot" in str(found)
    (finding,) = hs.Run.load(found.folder).record["findings"]
    assert found.doubtful[0] in finding["message"]


@pytest.mark.slow
def test_mistakes_are_named(run: hs.Run, fine_tuned: hs.Run, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for wrong, kind, words in (
        (lambda: hs.add_class(run, photos / "disc", on_event=None), hs.RecipeError, "a new class"),
        (lambda: hs.add_class(run, photos / "disc", name="new", on_event=None), hs.DataError, "does not have"),
        (lambda: hs.add_class(run, tmp_path / "empty", on_event=None), hs.DataError, "at least one image"),
        (lambda: hs.add_class(run, tmp_path / "no", on_event=None), hs.DataError, "a folder"),
        (lambda: hs.add_class(fine_tuned, tmp_path / "empty", on_event=None), hs.RunError, "fine-tuned"),
    ):
        with pytest.raises(kind, match=words):
            wrong()
