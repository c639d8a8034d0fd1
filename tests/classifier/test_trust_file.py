"""Familiarity and prediction sets in a file: they come back as they were, and what makes no sense is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from classifier.cards import change_card, stated
from headstart.classifier.classifier import Classifier
from headstart.classifier.familiarity import FamiliarImages, fit_familiarity
from headstart.classifier.trust_file import DISTANCES, MEAN, NAMES, ROWS
from headstart.errors import ClassifierError
from headstart.evaluation.conformal import fit_conformal


def trusted(classifier: Classifier, *, bank: bool = True) -> Classifier:
    """The classifier with a bank, a threshold and prediction sets, one class with a threshold of its own."""
    stage = classifier.backbone.stages[-1]
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 250)
    features = rng.normal(size=(250, classifier.backbone.spec.stage(stage).width)).astype(np.float32)
    names = [f"{i}/ünïcode\n\udcff.png" for i in range(250)]
    known = FamiliarImages(features, labels, np.arange(250), names)
    p = rng.dirichlet([1, 1, 1], 250)
    unbalanced = np.where(np.arange(250) < 30, labels, 0)
    return Classifier(
        classifier.backbone,
        classifier.head,
        classifier.card,
        familiarity=fit_familiarity(known, stage=stage, bank=bank),
        conformal=fit_conformal(p, unbalanced),
    )


@pytest.mark.slow
@pytest.mark.parametrize("bank", [True, False])
def test_a_saved_classifier_gives_the_same_predictions(
    classifier: Classifier, photos: Path, tmp_path: Path, bank: bool
) -> None:
    model = trusted(classifier, bank=bank)
    image = next(photos.rglob("*.png"))

    opened = Classifier.load(model.save(tmp_path / "classifier.safetensors"))

    assert opened.predict(image) == model.predict(image)
    prediction: Any = opened.predict(image)
    assert prediction.familiar is not None
    assert prediction.prediction_set[0] == prediction.label
    assert (prediction.nearest_image is None) != bank
    assert opened.familiarity is not None
    assert model.familiarity is not None
    np.testing.assert_array_equal(opened.familiarity.rows, model.familiarity.rows)
    assert opened.conformal is not None
    assert model.conformal is not None
    assert opened.conformal.own.tolist() == [True, False, False]
    np.testing.assert_array_equal(opened.conformal.thresholds, model.conformal.thresholds)
    assert opened.save(tmp_path / "again.safetensors").read_bytes() == (
        tmp_path / "classifier.safetensors"
    ).read_bytes()  # fmt: skip


def test_only_files_with_them_are_of_the_new_version(classifier: Classifier, tmp_path: Path) -> None:
    plain = stated(classifier.save(tmp_path / "plain.safetensors"))
    new = stated(trusted(classifier).save(tmp_path / "new.safetensors"))

    assert (plain["version"], new["version"]) == (1, 6)
    assert "familiarity" not in plain
    with safe_open(tmp_path / "new.safetensors", framework="pt") as file:
        assert file.get_tensor(ROWS).dtype == torch.float16
    assert Classifier.load(tmp_path / "plain.safetensors").familiarity is None


def test_a_copy_keeps_them_and_another_card_does_not_promise_them(classifier: Classifier) -> None:
    model = trusted(classifier)

    assert model.copy().familiarity is model.familiarity
    bare = Classifier(model.backbone, model.head, model.card)
    assert bare.card.familiarity == bare.card.conformal == {}


@pytest.mark.parametrize(
    ("entry", "changes", "message"),
    [
        ("familiarity", {"kind": "pickle"}, "kind is one of"),
        ("familiarity", {"rate": -1}, "rate is a number"),
        ("familiarity", {"threshold": True}, "threshold is a number"),
        ("familiarity", {"threshold": None}, "or a reason"),
        ("familiarity", {"threshold": 0.0}, "a threshold of 0, where the distances give"),
        ("familiarity", {"threshold": 900.0}, "a threshold of 900, where the distances give"),
        ("familiarity", {"rate": 0}, "a threshold at a rate of 0"),
        ("familiarity", {"rate": 0.5}, "a threshold of .*, where the distances give"),
        ("familiarity", {"images": 1.5}, "images is a count"),
        ("familiarity", {"images": 251}, "250 familiarity.distances of 251 images"),
        ("familiarity", {"groups": 251}, "251 groups of 250 images"),
        ("familiarity", {"stage": "nowhere"}, "stage"),
        ("familiarity", {"kind": "residual"}, "does not fit a residual"),
        ("conformal", {"method": "aps"}, "method is one of"),
        ("conformal", {"own": {"3": 0.5}}, "a class of own thresholds"),
        ("conformal", {"own": {"-1": 0.5}}, "a class of own thresholds"),
        ("conformal", {"own": [0.5]}, "own is no object"),
        ("conformal", {"threshold": "0.5"}, "threshold is a number"),
        ("conformal", {"own": {"1": 2.5}}, "own is a number from 0 to 1.3"),
        ("conformal", {"error_rate": 0}, "an error rate of 0"),
        ("conformal", {"error_rate": 0.001}, "an error rate of 0.001 from .* groups"),
    ],
)
def test_a_card_that_makes_no_sense_is_refused(
    classifier: Classifier, tmp_path: Path, entry: str, changes: dict[str, Any], message: str
) -> None:
    path = trusted(classifier).save(tmp_path / "classifier.safetensors")
    card: Any = stated(path)
    change_card(path, **{entry: {**card[entry], **changes}})

    with pytest.raises(ClassifierError, match=message):
        Classifier.load(path)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (ROWS, lambda t: t[:, 1:], "of shape"),
        (ROWS, lambda t: t[:0], "of shape"),
        (ROWS, lambda t: t.byte(), "no familiarity.rows"),
        (ROWS, lambda t: None, "no familiarity.rows"),
        (ROWS, lambda t: t * 5, "not of unit length"),
        (DISTANCES, lambda t: t.flip(0), "not sorted"),
        (DISTANCES, lambda t: t * float("nan"), "NaN"),
        (NAMES, lambda t: t[:-1], "no JSON"),
        (NAMES, lambda t: torch.frombuffer(bytearray(b'["a"]'), dtype=torch.uint8), "not 250 texts"),
        (MEAN, lambda t: torch.zeros(3), "does not fit a bank"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(
    classifier: Classifier, tmp_path: Path, name: str, change: Callable[[Any], Any], message: str
) -> None:
    path = trusted(classifier).save(tmp_path / "classifier.safetensors")
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    changed = change(tensors.get(name))
    tensors = {key: value for key, value in tensors.items() if key != name}
    if changed is not None:
        tensors[name] = changed.contiguous()
    save_file(tensors, path, metadata)

    with pytest.raises(ClassifierError, match=message):
        Classifier.load(path)
