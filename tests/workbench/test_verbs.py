"""predict, evaluate, compare, audit, backbones and cache, called as functions."""

from __future__ import annotations

import csv
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import nn

import headstart as hs
from drawn_photos import draw_folder
from headstart.classifier.classifier import Classifier
from headstart.errors import DataError, RecipeError, RunError
from headstart.progress import Notice
from headstart.workbench.backbones import list_backbones
from headstart.workbench.cache import clear_cache, show_cache
from headstart.workbench.explain import explain
from headstart.workbench.run import Run


def test_predict_keeps_the_order_and_expands_folders(run: Run, photos: Path) -> None:
    one = sorted((photos / "stripes").iterdir())[3]

    predictions = hs.predict(run.folder, [one, photos / "disc"])

    assert [p.name for p in predictions] == [str(one), *map(str, sorted((photos / "disc").iterdir()))]


def test_predict_writes_a_table_with_every_probability(run: Run, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"")

    predictions = hs.predict(run.folder, [photos / "disc", tmp_path / "bad.png"], csv=tmp_path / "p.csv")

    with (tmp_path / "p.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(predictions) == 17
    for row, prediction in zip(rows[:-1], predictions[:-1], strict=True):
        assert float(row["p(square)"]) == pytest.approx(prediction.probabilities["square"], abs=1e-6)
    assert "empty" in rows[-1]["error"]


def test_evaluate_beside_its_run_knows_neighbours_and_leaks(run: Run, photos: Path, tmp_path: Path) -> None:
    other = draw_folder(tmp_path / "other", per_class=5, seed=9)
    trained = next(row for row in run.predictions() if row["split"] == "train")
    shutil.copy(photos / trained["path"], other / trained["label"] / "seen.png")

    measured = hs.evaluate(run.folder / "classifier.safetensors", other)

    assert measured.evaluation.accuracy.n == 16
    assert measured.evaluation.leaked == 1
    assert [baseline.name for baseline in measured.evaluation.baselines] == ["majority", "kNN"]
    assert set(measured.nearest) == {mistake.name for mistake in measured.evaluation.mistakes}


def test_a_training_image_in_another_format_is_a_leak_too(run: Run, photos: Path, tmp_path: Path) -> None:
    other = draw_folder(tmp_path / "other", per_class=5, seed=9)
    trained = next(row for row in run.predictions() if row["split"] == "train")
    with Image.open(photos / trained["path"]) as image:
        image.save(other / trained["label"] / "seen.bmp")

    measured = hs.evaluate(run.folder, other)

    assert measured.evaluation.leaked == 1
    assert any("near duplicates are not searched for" in note for note in measured.notes)


def test_evaluate_opens_images_as_the_classifiers_card_says(run: Run, photos: Path, tmp_path: Path) -> None:
    other = tmp_path / "cut"
    for kind in ("disc", "square", "stripes"):
        (other / kind).mkdir(parents=True)
        for path in sorted((photos / kind).iterdir())[:6]:
            with Image.open(path) as image:
                cut = image.convert("RGBA")
            cut.putalpha(Image.linear_gradient("L").resize(cut.size))
            cut.save(other / kind / path.name)
    losses = set()
    for background in ((255, 255, 255), (0, 0, 0)):
        card = replace(run.classifier.card, background=background)
        model = Classifier(run.classifier.backbone, run.classifier.head, card)
        truth = [one.probabilities[Path(one.name).parent.name] for one in hs.predict(model, other)]
        loss = float(-np.log(truth).mean())
        assert hs.evaluate(model, other).evaluation.calibration.nll == pytest.approx(loss, rel=1e-3)
        losses.add(round(loss, 3))
    assert len(losses) == 2  # or this test could not tell
    with pytest.raises(RecipeError, match="card"):
        hs.evaluate(run.folder, other, background="black")


def test_evaluate_and_explain_compare_with_a_run_of_the_same_weights_only(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(run.folder, tmp_path / "run")
    model = Classifier.load(folder)
    norm = next(part for part in model.backbone.network.modules() if isinstance(part, nn.BatchNorm2d))
    norm.running_mean.add_(0.5)
    other, told = model.save(folder / "other.safetensors"), list[object]()

    measured = hs.evaluate(other, photos)
    (found,) = explain(other, sorted((photos / "disc").iterdir())[0], on_event=told.append)

    assert [baseline.name for baseline in measured.evaluation.baselines] == ["majority"]
    assert any("of other weights" in note for note in measured.notes)
    assert found.similar == ()
    assert any(isinstance(event, Notice) and "of other weights" in event.text for event in told)
    assert len(hs.evaluate(folder, photos).evaluation.baselines) == 2


def test_a_table_that_cannot_be_written_is_said_and_leaves_nothing(run: Run, photos: Path, tmp_path: Path) -> None:
    told: list[object] = []
    with pytest.raises(RunError, match="no such folder"):
        hs.predict(run.folder, photos / "disc", csv=tmp_path / "nowhere" / "p.csv", on_event=told.append)
    assert not told  # before anything was computed
    (tmp_path / "p.csv").mkdir()
    with pytest.raises(RunError, match="a table that can be written"):
        hs.predict(run.folder, photos / "disc", csv=tmp_path / "p.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["p.csv"]


@pytest.mark.skipif(os.name != "posix", reason="links and pipes")
def test_a_table_goes_through_links_and_into_pipes(run: Run, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "real.csv").write_text("before", encoding="utf-8")
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    hs.predict(run.folder, photos / "disc", csv=tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink()
    lines = (tmp_path / "real.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 17

    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit((tmp_path / "pipe").read_text, encoding="utf-8")
        hs.predict(run.folder, photos / "disc", csv=tmp_path / "pipe")
        assert read.result().splitlines() == lines
    assert (tmp_path / "pipe").is_fifo()


def test_evaluate_on_a_lone_file_says_what_it_cannot_say(run: Run, tmp_path: Path) -> None:
    lone = shutil.copy(run.folder / "classifier.safetensors", tmp_path / "lone.safetensors")
    other = draw_folder(tmp_path / "other", per_class=5, seed=9)

    measured = hs.evaluate(lone, other)

    assert [baseline.name for baseline in measured.evaluation.baselines] == ["majority"]
    assert "No kNN baseline" in measured.notes[0]
    assert measured.evaluation.accuracy == hs.evaluate(run.folder, other).evaluation.accuracy


def test_evaluate_aligns_by_name_and_counts_unknown_classes(run: Run, tmp_path: Path) -> None:
    other = draw_folder(tmp_path / "other", per_class=5, seed=9)
    (other / "disc").rename(other / "zebra")

    measured = hs.evaluate(run.folder, other)

    assert measured.evaluation.unknown == {"zebra": 5}
    assert measured.evaluation.accuracy.n == 10
    shutil.rmtree(other / "square")
    shutil.rmtree(other / "stripes")
    with pytest.raises(DataError, match=r"only .*Name the class folders"):
        hs.evaluate(run.folder, other)


def test_a_run_compared_with_itself_differs_by_nothing(run: Run) -> None:
    comparison = hs.compare(run.folder, run)

    assert comparison.difference.value == 0
    assert comparison.n == run.evaluation.accuracy.n
    assert not comparison.is_significant


def test_audit_names_every_planted_fault(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    for part in ("train", "test"):
        draw_folder(folder / part, per_class=12, seed=len(part))
    (folder / "train" / "disc" / "empty.png").write_bytes(b"")
    (folder / "train" / "disc" / ".hidden.png").write_bytes(b"")
    (folder / "train" / "__MACOSX").mkdir()
    one = next((folder / "train" / "disc").glob("[0-9a-f]*.png"))
    shutil.copy(one, folder / "train" / "square" / "relabelled.png")
    shutil.copy(one, folder / "test" / "disc" / "leaked.png")
    shutil.copytree(folder / "test" / "disc", folder / "test" / "unheard")

    audit = hs.audit(folder)

    by_kind = {finding.kind: finding for finding in audit.findings}
    assert "train/disc/empty.png" in by_kind["unreadable"].names
    assert {"two-labels", "leak", "unknown-class", "skipped"} <= set(by_kind)
    assert "relabelled" in str(by_kind["two-labels"].to_dict())
    assert "leaked" in str(by_kind["leak"].to_dict())


def test_more_bad_images_than_a_twentieth_stop_the_job(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "photos")
    for i in range(6):
        (folder / "disc" / f"bad{i}.png").write_bytes(b"GIF89a")

    with pytest.raises(DataError, match="6 of 54"):
        hs.train(folder, out=tmp_path / "run", backbone="embedded", inside=False)


def test_every_row_of_the_catalogue_states_its_licence() -> None:
    rows = list_backbones()
    assert {"resnet18", "random", "cifar_resnet20"} <= {row["name"] for row in rows}
    assert all(row["licence"] and row["origin"] for row in rows)


def test_the_cache_shows_what_a_run_left_and_clearing_keeps_weights(photos: Path, tmp_path: Path) -> None:
    hs.train(photos, out=tmp_path / "run", backbone="embedded", inside=False)
    cache = show_cache()
    (cache.folder / "weights").mkdir(exist_ok=True)
    (cache.folder / "weights" / "a.pth").write_bytes(b"123")

    assert [entry.images for entry in cache.features] == [48]
    cleared = clear_cache()

    assert cleared.freed_bytes >= cache.features[0].size_bytes
    assert cleared.features == ()
    assert (cache.folder / "weights" / "a.pth").exists()
