"""The card in a classifier file: old ones open, wrong ones are refused."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path

import pytest
from safetensors.torch import load, save_file

from classifier.cards import change_card, stated, with_flips, write_card
from headstart.classifier.card import VERSION, Card, check_class_names
from headstart.classifier.classifier import Classifier
from headstart.errors import ClassifierError, DataError
from small_models import make_classifier

OLD = Path(__file__).with_name("card_0.1.json")  # written by headstart 0.1 for a drawn set
STAGE = {"name": "a", "module": "b", "width": 3, "pool": "map", "side": "output"}
MODULE = {"class": "Net", "package": "nets", "parameters": 7, "stages": [STAGE], "head": []}

WITH_TIMM = pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="the extra `timm` is not installed")


@pytest.mark.slow
def test_a_card_of_version_0_1_opens(tmp_path: Path, photos: Path) -> None:
    old, model = json.loads(OLD.read_text("utf-8")), make_classifier(classes=("disc", "square", "stripes"))
    file = write_card(model.save(tmp_path / "old.safetensors"), old)

    opened = Classifier.load(file)

    assert old["mirror"] is False
    assert opened.classes == ("disc", "square", "stripes")
    assert opened.head.temperature == old["temperature"]
    assert opened.card.data == old["data"]
    assert opened.card.metrics["accuracy"]["value"] == 1.0
    assert not opened.head.flip_tta
    image = next(photos.rglob("*.png"))
    assert opened.predict(image).probabilities != model.predict(image).probabilities  # its own temperature


@pytest.mark.slow
def test_a_card_of_version_0_1_with_mirror_images_opens_with_flip_tta(tmp_path: Path, photos: Path) -> None:
    old = {**json.loads(OLD.read_text("utf-8")), "mirror": True, "version": 2, "temperature": 1.7}
    model = make_classifier(classes=("disc", "square", "stripes"))
    image = next(photos.rglob("*.png"))

    opened = Classifier.load(write_card(model.save(tmp_path / "old.safetensors"), old))

    assert opened.head.flip_tta
    assert opened.predict(image) == with_flips(model).predict(image)


def test_the_first_cards_had_no_flags(path: Path) -> None:
    first = {key: value for key, value in stated(path).items() if key not in ("unit", "flip_tta")}

    card = Card.from_json(json.dumps(first), path)

    assert card.unit
    assert not card.flip_tta


def test_a_card_has_the_oldest_version_that_knows_all_of_it(classifier: Classifier) -> None:
    card = classifier.card

    assert json.loads(card.to_json())["version"] == 1
    assert "module" not in json.loads(card.to_json())
    assert json.loads(with_flips(classifier).card.to_json())["version"] == 2
    with_module = Card(**{**vars(card), "module": MODULE})
    assert json.loads(with_module.to_json())["version"] == 3 < VERSION
    assert Card.from_json(with_module.to_json(), "here") == with_module


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 99}, "version 6 or older.*Install a newer"),
        ({"format": "other"}, "card of format"),
        ({"classes": ["ant"]}, "at least two"),
        ({"classes": ["ant", "ant", "bee"]}, "at least two different"),
        ({"classes": ["a", "b"]}, "head for 2 classes"),
        ({"temperature": 0}, "temperature above 0"),
        ({"temperature": "x"}, "temperature in the card"),
        ({"backbone": "os:system"}, "backbone"),
        pytest.param({"backbone": "timm:hf-hub:evil/model"}, "hub", marks=WITH_TIMM),
        ({"stages": ["nowhere"]}, "stage"),
        ({"stages": []}, "names of stages"),
        ({"background": [0, 0, 999]}, "0 to 255"),
        ({"preprocess": {"resize": 10**9}}, "preprocess|key"),
        ({"weights": {"source": ["a"]}}, "plain text"),
        (
            {"metrics": {"accuracy": {"value": 5, "low": 0, "high": 9, "n": 3}}},
            "metrics that make sense.*accuracy is 5",
        ),
        ({"data": {"classes": ["bee", "ant"]}}, "classes of the training images"),
        ({"data": {"images": -7}}, "data that make sense.*images is -7"),
        ({"flip_tta": "yes"}, "flip_tta true or false"),
        ({"precision": "int4"}, "precision in the card: float32, bfloat16, int8"),
        ({"precision": "int8"}, "quantised network of an int8 classifier"),
        ({"module": "os"}, "module in the card"),
        ({"module": {"class": "Net"}}, "module in the card"),
        ({"module": {**MODULE, "stages": ["a"]}}, "stages of the module"),
        ({"module": {**MODULE, "stages": [{**STAGE, "pool": "no"}]}}, "stages of the module"),
    ],
)
def test_a_wrong_card_is_refused_with_the_reason(path: Path, changes: dict, message: str) -> None:
    with pytest.raises(ClassifierError, match=message):
        Classifier.load(change_card(path, **changes))


def test_a_card_that_is_no_json_or_too_long_is_refused(path: Path) -> None:
    tensors = load(path.read_bytes())  # older safetensors cannot write over a file that it has mapped
    save_file(tensors, path, {"headstart": "{"})
    with pytest.raises(ClassifierError, match="card in JSON"):
        Classifier.load(path)
    save_file(tensors, path, {"headstart": " " * 5_000_000})
    with pytest.raises(ClassifierError, match="at most"):
        Classifier.load(path)


def test_another_precision_is_kept_and_older_readers_refuse_the_card() -> None:
    card = make_classifier().card
    other = dataclasses.replace(card, precision="int8", bit_depth=12)

    assert "precision" not in json.loads(card.to_json())
    assert json.loads(other.to_json())["version"] == 5
    assert Card.from_json(other.to_json(), "x") == other


def test_another_bit_depth_is_kept_and_older_readers_refuse_the_card() -> None:
    card = make_classifier().card
    usual = json.loads(card.to_json())
    other = dataclasses.replace(card, bit_depth=12)

    assert "bit_depth" not in usual
    assert (usual["version"], json.loads(other.to_json())["version"]) == (1, 4)
    assert Card.from_json(other.to_json(), "x").bit_depth == 12
    for wrong in (7, 17, True, "12"):
        text = json.dumps({**json.loads(other.to_json()), "bit_depth": wrong})
        with pytest.raises(ClassifierError, match="bit depth"):
            Card.from_json(text, "x")


def test_names_that_no_card_can_hold_are_refused() -> None:
    check_class_names(["a", "b"])
    with pytest.raises(DataError, match="shorter"):
        check_class_names(["a" * 400_000, "b" * 400_000])
