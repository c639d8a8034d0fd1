"""forget: the new classifier equals a training that never saw the images; nothing of them is left in run and cache."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import headstart as hs
from headstart import runtime
from headstart.features.cache import FeatureCache
from headstart.untrusted import read_object, write_sealed


@pytest.fixture
def copied(run_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run_folder, tmp_path / "photos"))


@pytest.mark.slow
def test_the_classifier_equals_a_training_without_the_images(
    copied: Path, run_folder: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # both take the features that were extracted once: in a batch of another size their last bits can differ
    cache = shutil.copytree(run_folder.parents[1] / "cache", tmp_path / "cache")
    monkeypatch.setenv("HEADSTART_CACHE", str(cache))
    old = hs.Run.load(copied)
    train, test = (old.predictions(split) for split in ("train", "test"))
    gone = [train[0]["path"], train[5]["path"], test[1]["path"]]
    found = hs.forget(copied, gone, on_event=None)

    lines = ["path,label,split"]
    lines += [f"{photos / r['path']},{r['label']},{r['split']}" for r in old.predictions() if r["path"] not in gone]
    table = tmp_path / "others.csv"
    table.write_text("\n".join(lines), "utf-8")
    options = {"backbone": "embedded", "engine": "eager", "inside": False, "on_event": None}
    refit = hs.train(table, out=tmp_path / "refit", **options)  # type: ignore[arg-type]

    new = hs.Run.load(found.folder)
    first, second = new.classifier.head, refit.classifier.head
    np.testing.assert_allclose(first.weight, second.weight, rtol=0, atol=1e-12 * np.abs(second.weight).max())
    np.testing.assert_allclose(first.bias, second.bias, rtol=0, atol=1e-12)
    assert first.temperature == pytest.approx(second.temperature, rel=1e-12)
    ours, theirs = new.classifier.familiarity, refit.classifier.familiarity
    assert ours is not None
    assert theirs is not None
    np.testing.assert_array_equal(ours.rows, theirs.rows)
    np.testing.assert_array_equal(ours.distances, theirs.distances)
    assert ours.threshold == theirs.threshold
    sets = [one.classifier.conformal for one in (new, refit)]
    assert sets[0] is not None
    assert sets[1] is not None
    np.testing.assert_array_equal(sets[0].thresholds, sets[1].thresholds)
    assert new.evaluation.accuracy == refit.evaluation.accuracy
    assert new.evaluation.calibration == refit.evaluation.calibration
    assert new.record["data"]["counts"] == refit.record["data"]["counts"]
    assert [row["predicted"] for row in new.predictions()] == [row["predicted"] for row in refit.predictions()]
    assert found.images == 3
    assert found.certificate.is_exact
    assert found.certificate.head_reproduced < 1e-12
    assert found.certificate.splits == {"test": 1, "train": 2}
    said = "3 images removed by headstart forget (1 of the test images, 2 of the train images). Head"
    page, card = (new.folder / "report.html").read_text("utf-8"), hs.card(new).text
    assert said in page
    assert said in card
    assert f"the test accuracy before was {old.evaluation.accuracy}" in page
    assert f"{new.evaluation.accuracy.value * 100:.1f}" in page
    again = hs.forget(new, train[7]["path"], on_event=None)
    messages = [one["message"] for one in hs.Run.load(again.folder).record["findings"]]
    assert [one.split(" removed")[0] for one in messages] == ["3 images", "1 image"]


@pytest.mark.slow
def test_nothing_of_a_forgotten_image_is_left_in_the_new_run_or_the_cache(
    copied: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    hs.embed(photos, backbone="embedded", on_event=None)  # fills the cache
    review = hs.review(copied, on_event=None)
    name, content = review.rows.names[0], review.rows.contents[0]
    review.decide(name, "drop")
    review.decide(review.rows.names[1], "keep")
    found = hs.forget(copied, photos / name, on_event=None)

    new = hs.Run.load(found.folder)
    assert name not in new.features.names
    assert content not in new.features.contents
    assert len(new.features.names) == 47
    for file in found.folder.iterdir():
        if file.name != "certificate.json":
            data = file.read_bytes()
            assert content.encode() not in data, file.name
            assert bytes.fromhex(content) not in data, file.name
            assert Path(name).name.encode() not in data, file.name
    certificate = read_object(found.folder / "certificate.json")
    assert certificate["removed"] == [content]
    assert name not in json.dumps(certificate)
    assert found.certificate.cache_rows == 1
    cache = FeatureCache(runtime.cache_folder() / "features", 1e9)
    assert sum(entry.images for entry in cache.entries()) == 47
    assert len(hs.review(new, on_event=None).decisions) == 1
    assert hs.evaluate(new, photos, on_event=None).evaluation.accuracy.n >= 1
    assert hs.Run.load(copied).features.names  # the old run stays
    # its report names itself
    assert f"headstart predict {found.folder}/classifier.safetensors" in (found.folder / "report.html").read_text(
        "utf-8"
    )


@pytest.mark.slow
def test_a_folder_that_is_gone_is_not_called_untouched(copied: Path, photos: Path, tmp_path: Path) -> None:
    values = read_object(copied / "run.json")
    write_sealed(copied / "run.json", {**values, "source": str(tmp_path / "gone")})
    name = hs.Run.load(copied).predictions()[0]["path"]
    found = hs.forget(copied, name, on_event=None)
    assert f"{tmp_path / 'gone'} is not there" in found.certificate.remains[1]
    assert f"The image files in {photos} are untouched" not in str(found)


@pytest.mark.slow
def test_a_network_that_was_trained_on_its_images_cannot_forget(fine_tuned: hs.Run, run: hs.Run) -> None:
    with pytest.raises(hs.RunError, match="fine-tuned"):
        hs.forget(fine_tuned, fine_tuned.predictions()[0]["path"], on_event=None)
    with pytest.raises(hs.RunError, match="an image of the run"):
        hs.forget(run, "no.png", on_event=None)
    with pytest.raises(hs.RecipeError, match="at least one image"):
        hs.forget(run, [], on_event=None)
    discs = [row["path"] for row in run.predictions("train") if row["label"] == "disc"]
    with pytest.raises(hs.DataError, match="'disc'"):
        hs.forget(run, discs, on_event=None)
