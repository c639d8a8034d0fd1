"""A trained network becomes the safe file, and answers as it did; anything else is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import nn
from torch.optim import SGD
from torch.utils.data import DataLoader, TensorDataset
from torchvision.models import squeezenet1_1

from drawn_photos import draw_folder
from headstart.backbones.backbone import build_backbone
from headstart.backbones.catalogue import SPECS
from headstart.backbones.preprocess import Preprocess
from headstart.backbones.replace_head import replace_head
from headstart.classifier.classifier import Classifier
from headstart.errors import TrainingError
from headstart.training.stepbystep import StepByStep

CLASSES = ("ant", "bee", "cat")


def loop(outputs: int = 3, row: str = "cifar_resnet20", validation: bool = False) -> StepByStep:
    torch.manual_seed(0)
    network = replace_head(build_backbone(SPECS[row], seed=1).network, SPECS[row], outputs)
    network.requires_grad_(True)
    sbs = StepByStep(network, nn.CrossEntropyLoss(), SGD(network.parameters(), lr=0.01))
    pixels = torch.randn(24, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    data = TensorDataset(pixels, torch.arange(24) % max(outputs, 2))
    sbs.set_loaders(DataLoader(data, 8), DataLoader(data, 8) if validation else None)
    return sbs


def photo(folder: Path) -> Path:
    return sorted(draw_folder(folder / "photos").rglob("*.png"))[0]


def logits_of(sbs: StepByStep, preprocess: Preprocess, path: Path) -> Any:
    return sbs.predict_files([path], preprocess)[0].astype(np.float64)


def test_the_file_answers_as_the_trained_network_did(tmp_path: Path) -> None:
    sbs, path = loop(), photo(tmp_path)
    sbs.train(2)
    preprocess = Preprocess.of(SPECS["cifar_resnet20"])

    sbs.to_classifier(None, CLASSES).save(tmp_path / "a.safetensors")
    loaded = Classifier.load(tmp_path / "a.safetensors")

    expected = softmax(logits_of(sbs, preprocess, path))
    answer = loaded.predict(path).probabilities
    assert [answer[name] for name in CLASSES] == pytest.approx(expected.tolist(), abs=1e-5)
    assert loaded.card.head == "trained"
    assert not loaded.head.unit
    assert "2 epochs" in loaded.card.weights["source"]


def test_the_preprocessing_that_is_given_travels(tmp_path: Path) -> None:
    own = Preprocess(40, 32, "nearest", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    sbs, path = loop(), photo(tmp_path)
    classifier = sbs.to_classifier(own, CLASSES)
    answer = classifier.predict(path).probabilities
    expected = softmax(logits_of(sbs, own, path))
    assert [answer[name] for name in CLASSES] == pytest.approx(expected.tolist(), abs=1e-5)


@pytest.mark.slow
def test_a_validation_loader_fits_the_temperature_and_keeps_the_answer(tmp_path: Path) -> None:
    sbs = loop(validation=True)
    sbs.train(3)
    classifier, path = sbs.to_classifier(None, CLASSES), photo(tmp_path)
    assert classifier.head.temperature != 1.0
    expected = softmax(logits_of(sbs, Preprocess.of(SPECS["cifar_resnet20"]), path) / classifier.head.temperature)
    answer = classifier.predict(path).probabilities
    assert [answer[name] for name in CLASSES] == pytest.approx(expected.tolist(), abs=1e-5)


@pytest.mark.slow
def test_a_single_logit_speaks_for_the_second_class(tmp_path: Path) -> None:
    sbs, path = loop(outputs=1), photo(tmp_path)
    classifier = sbs.to_classifier(None, ("no", "yes"))
    logit = logits_of(sbs, Preprocess.of(SPECS["cifar_resnet20"]), path)[0]
    assert classifier.predict(path).probabilities["yes"] == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-5)


@pytest.mark.slow
def test_the_networks_state_is_copied_not_shared() -> None:
    sbs = loop()
    classifier = sbs.to_classifier(None, CLASSES)
    before = classifier.backbone.fingerprint
    sbs.train(1)
    assert classifier.backbone.fingerprint == before


@pytest.mark.slow
def test_networks_that_a_file_cannot_name_are_refused_with_the_reason() -> None:
    own = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 3))
    sbs = StepByStep(own, nn.CrossEntropyLoss(), SGD(own.parameters(), lr=0.1))
    with pytest.raises(TrainingError, match="carries no code"):
        sbs.to_classifier(None, CLASSES)
    with pytest.raises(TrainingError, match="linear head 64 → 4"):
        loop().to_classifier(None, (*CLASSES, "dog"))


def test_a_top_that_is_more_than_linear_is_refused() -> None:
    network = squeezenet1_1(num_classes=3)  # its own top ends in a ReLU
    sbs = StepByStep(network, nn.CrossEntropyLoss(), SGD(network.parameters(), lr=0.1))
    with pytest.raises(TrainingError, match="no linear layer"):
        sbs.to_classifier(None, CLASSES)
    bent = loop()
    bent.model.linear = nn.Sequential(nn.Linear(64, 3), nn.ReLU())
    with pytest.raises(TrainingError, match="linear layer on its pooled features"):
        bent.to_classifier(None, CLASSES)


@pytest.mark.parametrize("row", ["resnet18", "mobilenet_v3_small", "squeezenet1_1", "alexnet", "random"])
@pytest.mark.slow
def test_rows_of_every_kind_of_top(row: str, tmp_path: Path) -> None:
    network = replace_head(build_backbone(SPECS[row]).network, SPECS[row], 3)
    sbs = StepByStep(network, nn.CrossEntropyLoss(), SGD(network.parameters(), lr=0.1))
    assert sbs.to_classifier(None, CLASSES).backbone.spec.name == row
