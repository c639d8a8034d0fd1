"""Images for looks: drawn from a seed, from the part that was not trained on, labels in the model's order."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from headstart.backbones.backbone import load_backbone
from headstart.errors import DataError
from headstart.progress import Notice
from headstart.recipe import Recipe
from headstart.workbench.inspected_images import inspected_images

PREPROCESS = load_backbone("embedded").preprocess


def test_labels_count_in_the_order_of_the_models_classes_and_others_are_left_out(photos: Path):
    names = sorted(path.name for path in photos.iterdir() if path.is_dir())
    turned = (names[1], names[0])
    images = inspected_images(photos, PREPROCESS, Recipe(), print, classes=turned)
    assert images.classes == turned
    assert images.labels is not None
    assert [turned[label] for label in images.labels.tolist()] == [name.split("/")[0] for name in images.names]


def test_the_same_seed_draws_the_same_images_and_pixels_are_those_of_the_card(photos: Path):
    first, second = (inspected_images(photos, PREPROCESS, Recipe(seed=3), print, most=7) for _ in range(2))
    other = inspected_images(photos, PREPROCESS, Recipe(seed=4), print, most=7)
    assert len(first) == 7
    assert first.names == second.names != other.names
    assert first.prepared is not None
    assert torch.equal(first.pixels, PREPROCESS.normalise(first.prepared))


def test_a_folder_without_classes_gives_images_without_labels_and_names_what_it_leaves_out(tmp_path: Path, photos):
    some = next(path for path in photos.iterdir() if path.is_dir())
    for i, path in enumerate(sorted(some.iterdir())[:3]):
        (tmp_path / f"{i}{path.suffix}").write_bytes(path.read_bytes())
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    told: list[object] = []
    images = inspected_images(tmp_path, PREPROCESS, Recipe(), told.append)
    assert images.labels is None
    assert len(images) == 3
    assert any(isinstance(event, Notice) and "broken.jpg" in event.text for event in told)


def test_images_of_none_of_the_models_classes_are_an_error(photos: Path):
    with pytest.raises(DataError, match="images of the classes"):
        inspected_images(photos, PREPROCESS, Recipe(), print, classes=("zebra",))
