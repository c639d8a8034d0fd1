"""The classifier and its file: equal bits, equal answers, and a clear word for every kind of damage."""

from __future__ import annotations

import json
import os
import stat
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ImageOps
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from drawn_photos import draw
from headstart.backbones.backbone import load_backbone
from headstart.backbones.flip_tta import FlipTTA
from headstart.classifier import card as card_module
from headstart.classifier.card import Card
from headstart.classifier.classifier import Classifier
from headstart.errors import ClassifierError
from headstart.heads.head import Head


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    backbone = load_backbone("random", seed=3)
    stages = backbone.stages[-2:]
    width = sum(backbone.spec.stage(name).width for name in stages)
    rng = np.random.default_rng(0)
    head = Head("ridge", stages, rng.normal(size=(width, 3)), rng.normal(size=3), 3.0)
    card = Card(
        backbone="random",
        stages=stages,
        classes=("ant", "bee", "=wasp"),
        preprocess=backbone.preprocess.to_dict(),
        background=(255, 255, 255),
        head="ridge",
        temperature=3.0,
        weights=backbone.weights.to_dict(),
    )
    return Classifier(backbone, head, card)


@pytest.fixture
def path(classifier: Classifier, tmp_path: Path) -> Path:
    return classifier.save(tmp_path / "classifier.safetensors")


def stated(path: Path) -> dict[str, object]:
    """The card in a file."""
    with safe_open(path, framework="pt") as file:
        card: dict[str, object] = json.loads(file.metadata()["headstart"])
    return card


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_who_may_read_the_file_is_for_the_umask_to_say(classifier: Classifier, tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        file = classifier.save(tmp_path / "classifier.safetensors")
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o666 & ~mask


def change_card(path: Path, **changes: object) -> Path:
    save_file(load_file(path), path, {"headstart": json.dumps({**stated(path), **changes})})
    return path


def test_a_round_trip_gives_equal_bits_and_equal_answers(classifier: Classifier, path: Path, photos: Path) -> None:
    images = sorted(photos.rglob("*.png"))[:5]

    again = Classifier.load(path)

    for name, tensor in classifier.backbone.state().items():
        assert torch.equal(again.backbone.state()[name], tensor), name
    np.testing.assert_array_equal(again.head.weight, classifier.head.weight)
    assert again.card == classifier.card
    assert again.predict(images) == classifier.predict(images)
    assert again.save(path.with_name("again.safetensors")).read_bytes() == path.read_bytes()


def test_one_image_and_many_give_the_same_numbers(classifier: Classifier, photos: Path) -> None:
    images = sorted(photos.rglob("*.png"))[:7]

    together = classifier.predict(images, workers=2)

    for image, prediction in zip(images, together, strict=True):
        alone = classifier.predict(image)
        assert alone.label == prediction.label
        assert alone.probabilities == pytest.approx(prediction.probabilities, abs=1e-6)
        assert classifier.predict(image.read_bytes()).probabilities == pytest.approx(alone.probabilities)


def test_an_unreadable_image_is_a_prediction_with_its_reason_in_its_place(
    classifier: Classifier, photos: Path, tmp_path: Path
) -> None:
    good = next(photos.rglob("*.png"))
    (tmp_path / "bad.png").write_bytes(b"no image")

    predictions = classifier.predict([good, tmp_path / "bad.png", good])

    assert [p.error is None for p in predictions] == [True, False, True]
    assert "not an image" in (predictions[1].error or "")
    assert predictions[0] == predictions[2]


def test_probabilities_sum_to_one_and_come_best_first(classifier: Classifier, photos: Path) -> None:
    prediction = classifier.predict(next(photos.rglob("*.png")))

    values = list(prediction.probabilities.values())
    assert sum(values) == pytest.approx(1)
    assert values == sorted(values, reverse=True)
    assert prediction.top[0] == (prediction.label, prediction.probability)


def test_the_preprocessing_of_the_card_is_what_is_used(classifier: Classifier, path: Path, photos: Path) -> None:
    image = next(photos.rglob("*.png"))
    other = {**classifier.backbone.preprocess.to_dict(), "mean": [0.0, 0.0, 0.0]}

    changed = Classifier.load(change_card(path, preprocess=other))

    assert changed.backbone.preprocess.mean == (0.0, 0.0, 0.0)
    assert changed.predict(image).probabilities != pytest.approx(classifier.predict(image).probabilities, abs=1e-3)


@pytest.mark.parametrize("keep", [0, 5, 300, 0.5, 0.999])
def test_a_cut_off_file_is_a_clear_error(path: Path, keep: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(keep if keep >= 5 else keep * len(data))])
    with pytest.raises(ClassifierError, match="whole classifier file"):
        Classifier.load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 99}, "version 2 or older.*Install a newer"),
        ({"format": "other"}, "card of format"),
        ({"classes": ["ant"]}, "at least two"),
        ({"classes": ["ant", "ant", "bee"]}, "at least two different"),
        ({"classes": ["a", "b"]}, "head for 2 classes"),
        ({"temperature": 0}, "temperature above 0"),
        ({"temperature": "x"}, "temperature in the card"),
        ({"backbone": "os:system"}, "backbone"),
        ({"backbone": "timm:hf-hub:evil/model"}, "hub"),
        ({"stages": ["nowhere"]}, "stage"),
        ({"stages": []}, "names of stages"),
        ({"background": [0, 0, 999]}, "0 to 255"),
        ({"preprocess": {"resize": 10**9}}, "preprocess|key"),
        ({"weights": {"source": ["a"]}}, "plain text"),
        ({"flip_tta": "yes"}, "flip_tta true or false"),
    ],
)
def test_a_card_that_does_not_hold_is_refused_with_a_word(path: Path, changes: dict, message: str) -> None:
    with pytest.raises(ClassifierError, match=message):
        Classifier.load(change_card(path, **changes))


def test_a_card_that_is_no_json_or_too_long_is_refused(path: Path) -> None:
    tensors = load_file(path)
    save_file(tensors, path, {"headstart": "{"})
    with pytest.raises(ClassifierError, match="card in JSON"):
        Classifier.load(path)
    save_file(tensors, path, {"headstart": " " * 5_000_000})
    with pytest.raises(ClassifierError, match="at most"):
        Classifier.load(path)


def test_missing_and_infinite_tensors_are_refused(path: Path) -> None:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    broken = {key: value for key, value in tensors.items() if "conv1" not in key}
    save_file(broken, path, metadata)
    with pytest.raises(ClassifierError, match="missing"):
        Classifier.load(path)
    save_file({**tensors, "head.bias": torch.full((3,), torch.nan, dtype=torch.float64)}, path, metadata)
    with pytest.raises(ClassifierError, match="finite"):
        Classifier.load(path)


def test_plain_weights_and_missing_files_are_told_apart(tmp_path: Path) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "weights.safetensors")
    with pytest.raises(ClassifierError, match="without headstart's card"):
        Classifier.load(tmp_path / "weights.safetensors")
    with pytest.raises(ClassifierError, match="no such file"):
        Classifier.load(tmp_path / "nothing.safetensors")


def test_a_giant_header_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "giant.safetensors"
    path.write_bytes(struct.pack("<Q", 2**62) + b"{}")
    with pytest.raises(ClassifierError, match="whole classifier file"):
        Classifier.load(path)


def test_a_folder_that_cannot_be_written_leaves_nothing(classifier: Classifier, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ClassifierError, match="to write the classifier"):
        classifier.save(tmp_path / "file" / "classifier.safetensors")
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["file"]


def mirrored(plain: Classifier) -> Classifier:
    """The same weights, answering with mirror images."""
    backbone = plain.copy().backbone
    backbone.flip_tta = FlipTTA(backbone.widths, plain.head.unit)
    return Classifier(backbone, replace(plain.head, flip_tta=True), replace(plain.card, flip_tta=True))


def with_unit(plain: Classifier, unit: bool) -> Classifier:
    return Classifier(plain.backbone, replace(plain.head, unit=unit), replace(plain.card, unit=unit))


@pytest.mark.parametrize("unit", [True, False])
def test_with_mirror_images_an_answer_is_the_mean_of_the_scores_for_two_pictures(
    classifier: Classifier, tmp_path: Path, unit: bool
) -> None:
    plain, (kind, side) = with_unit(classifier, unit), ("disc", classifier.backbone.preprocess.crop)
    picture = draw(kind, np.random.default_rng(5), side)
    picture.save(tmp_path / "one.png")
    ImageOps.mirror(picture).save(tmp_path / "two.png")
    one, two = (plain.predict(tmp_path / name).probabilities for name in ("one.png", "two.png"))
    together = {name: (one[name] * two[name]) ** 0.5 for name in one}  # means of logarithms
    expected = {name: value / sum(together.values()) for name, value in together.items()}
    model = mirrored(plain)
    assert one["ant"] != pytest.approx(two["ant"], rel=0.01)
    for file in ("one.png", "two.png"):
        assert model.predict(tmp_path / file).probabilities == pytest.approx(expected, rel=1e-4)
    (streamed,) = model.stream([tmp_path / "one.png"])
    assert streamed.probabilities == pytest.approx(expected, rel=1e-4)
    again = Classifier.load(model.save(tmp_path / "both.safetensors"))
    assert (
        again.predict(tmp_path / "one.png")
        == model.predict(tmp_path / "one.png")
        == model.copy().predict(tmp_path / "one.png")
    )


def test_a_file_with_mirror_images_is_refused_by_older_readers_and_others_stay_as_they_were(
    classifier: Classifier, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = mirrored(classifier).save(tmp_path / "both.safetensors")
    assert [stated(file)["version"] for file in (path, both)] == [1, 2]
    monkeypatch.setattr(card_module, "VERSION", 1)  # a headstart from before
    with pytest.raises(ClassifierError, match=r"version 2.*Install a newer"):
        Classifier.load(both)
    old = {key: value for key, value in stated(path).items() if key != "flip_tta"}
    save_file(load_file(path), path, {"headstart": json.dumps(old)})
    assert not Classifier.load(path).head.flip_tta


def test_parts_that_disagree_on_mirror_images_are_no_classifier(classifier: Classifier) -> None:
    with pytest.raises(ClassifierError, match="only head"):
        Classifier(classifier.backbone, replace(classifier.head, flip_tta=True), classifier.card)
