"""Images for analyses: drawn from a seed, from the split that was not trained on, labels in the model's order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from headstart.backbones.backbone import load_backbone
from headstart.errors import DataError, RecipeError
from headstart.progress import Notice
from headstart.workbench.open_model import file_of, images_for, open_model, samples_of
from headstart.workbench.session import Session
from small_models import make_classifier

BACKBONE = load_backbone("embedded")


@pytest.mark.slow
def test_labels_follow_the_order_of_the_models_classes_and_others_are_left_out(photos: Path) -> None:
    names = sorted(path.name for path in photos.iterdir() if path.is_dir())
    turned = (names[1], names[0])

    images = images_for(Session(), make_classifier(classes=turned), photos)

    assert images.classes == turned
    assert images.labels is not None
    assert [turned[label] for label in images.labels.tolist()] == [name.split("/")[0] for name in images.names]


def test_the_same_seed_draws_the_same_images_and_pixels_are_those_of_the_card(photos: Path) -> None:
    first, second = (images_for(Session(options={"seed": 3}), BACKBONE, photos, most=7) for _ in range(2))
    other = images_for(Session(options={"seed": 4}), BACKBONE, photos, most=7)

    assert len(first) == 7
    assert first.names == second.names != other.names
    assert first.prepared is not None
    assert torch.equal(first.pixels, BACKBONE.preprocess.normalise(first.prepared))


def test_a_folder_without_classes_gives_images_without_labels_and_names_what_it_leaves_out(
    tmp_path: Path, photos: Path
) -> None:
    some = next(path for path in photos.iterdir() if path.is_dir())
    for i, path in enumerate(sorted(some.iterdir())[:3]):
        (tmp_path / f"{i}{path.suffix}").write_bytes(path.read_bytes())
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    events: list[object] = []

    images = images_for(Session(on_event=events.append), BACKBONE, tmp_path)

    assert images.labels is None
    assert len(images) == 3
    assert any(isinstance(event, Notice) and "broken.jpg" in event.text for event in events)


def test_images_of_none_of_the_models_classes_are_an_error(photos: Path) -> None:
    with pytest.raises(DataError, match="images of the classes"):
        samples_of(photos, ("zebra",))


def test_a_plain_module_does_not_say_how_images_reach_it(photos: Path) -> None:
    with pytest.raises(RecipeError, match="Classifier or a Backbone"):
        images_for(Session(), torch.nn.Flatten(), photos)


def test_a_name_is_a_backbone_unless_a_file_of_that_name_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert file_of("embedded") is None
    assert open_model(Session(), "embedded").spec.name == "embedded"
    Path("embedded").mkdir()
    assert file_of("embedded") == Path("embedded")
    assert open_model(Session(), BACKBONE) is BACKBONE


@pytest.mark.slow
def test_images_in_memory_are_taken_with_their_labels_and_without(photos: Path) -> None:
    disc, square = (sorted((photos / name).iterdir())[0] for name in ("disc", "square"))
    pixels = [np.asarray(Image.open(path).convert("RGB")) for path in (disc, square)]

    labelled = images_for(
        Session(), make_classifier(classes=("disc", "square")), [(disc, "disc"), (pixels[1], "square")]
    )
    loose = images_for(Session(), BACKBONE, [disc, pixels[1], Image.open(disc)])
    one = images_for(Session(), BACKBONE, pixels[0])

    assert (len(loose), len(one)) == (3, 1)
    assert labelled.labels is not None
    assert [labelled.classes[i] for i in labelled.labels] == ["disc", "square"]
    assert loose.labels is None
    torch.testing.assert_close(loose.pixels[0], loose.pixels[2])
    torch.testing.assert_close(one.pixels[0], loose.pixels[0])
    torch.testing.assert_close(labelled.pixels[1], loose.pixels[1])


@pytest.mark.slow
def test_of_a_dataset_with_splits_the_test_images_are_taken(photos: Path) -> None:
    dataset = Session().dataset(photos).with_split(0.2, 0)

    images = images_for(Session(), BACKBONE, dataset)

    assert len(images) == len(dataset.indices("test"))


def test_what_is_no_source_of_images_is_refused() -> None:
    for source in (3, [], [3]):
        with pytest.raises(DataError):
            images_for(Session(), BACKBONE, source)
