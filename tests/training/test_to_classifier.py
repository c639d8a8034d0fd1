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
from headstart.errors import BackboneError, ClassifierError, TrainingError
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


OWN = {"size": 32, "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4)}


class OwnNetwork(nn.Module):
    """Nothing like the catalogue's: flattened maps, two linear layers with dropout, perhaps a log-softmax."""

    def __init__(self, ends_in_log_softmax: bool = False) -> None:
        super().__init__()
        self.maps = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3, 2))
        self.hidden, self.drop, self.fc = nn.Linear(4 * 49, 32), nn.Dropout(0.5), nn.Linear(32, 3)
        self.last = nn.LogSoftmax(dim=1) if ends_in_log_softmax else nn.Identity()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self.hidden(self.maps(pixels).flatten(1)))
        found: torch.Tensor = self.last(self.fc(self.drop(hidden)))
        return found


def own_loop(network: nn.Module) -> StepByStep:
    sbs = StepByStep(network, nn.CrossEntropyLoss(), SGD(network.parameters(), lr=0.05))
    pixels = torch.randn(24, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    sbs.set_loaders(DataLoader(TensorDataset(pixels, torch.arange(24) % 3), 8))
    return sbs


def tensors_of(network: nn.Module) -> dict[str, list[float]]:
    return {name: tensor.flatten().tolist() for name, tensor in network.state_dict().items()}


def photo(folder: Path) -> Path:
    return sorted(draw_folder(folder / "photos").rglob("*.png"))[0]


def logits_of(sbs: StepByStep, preprocess: Preprocess, path: Path) -> Any:
    return sbs.predict_files([path], preprocess)[0].astype(np.float64)


@pytest.mark.slow
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


@pytest.mark.slow
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
@pytest.mark.parametrize("ends_in_log_softmax", [False, True])
def test_a_network_outside_the_catalogue_answers_as_it_did(tmp_path: Path, ends_in_log_softmax: bool) -> None:
    torch.manual_seed(3)
    sbs, path = own_loop(OwnNetwork(ends_in_log_softmax)), photo(tmp_path)
    sbs.train(2)
    preprocess = Preprocess.from_values(OWN)
    before = tensors_of(sbs.model)

    sbs.to_classifier(OWN, CLASSES).save(tmp_path / "a.safetensors")
    loaded = Classifier.load(tmp_path / "a.safetensors", module=OwnNetwork(ends_in_log_softmax))

    expected = softmax(logits_of(sbs, preprocess, path))
    answer = loaded.predict(path).probabilities
    assert [answer[name] for name in CLASSES] == pytest.approx(expected.tolist(), abs=1e-5)
    assert loaded.backbone.preprocess == preprocess
    assert tensors_of(sbs.model) == before
    assert all(parameter.requires_grad for parameter in sbs.model.parameters())  # a copy went into the classifier
    sbs.train(1)
    with pytest.raises(ClassifierError, match="module=OwnNetwork"):
        Classifier.load(tmp_path / "a.safetensors")


@pytest.mark.slow
def test_a_network_outside_the_catalogue_needs_its_preprocessing_and_a_linear_head() -> None:
    with pytest.raises(TrainingError, match=r'how images are prepared for OwnNetwork.*Give preprocess=\{"size"'):
        own_loop(OwnNetwork()).to_classifier(None, CLASSES)
    with pytest.raises(BackboneError, match="Did you mean size"):
        own_loop(OwnNetwork()).to_classifier({"sise": 32}, CLASSES)
    with pytest.raises(BackboneError, match="takes pixels 2×3×40×40"):
        own_loop(OwnNetwork()).to_classifier({"size": 40}, CLASSES)
    with pytest.raises(TrainingError, match="3 class names, one for each output of the network, found 2"):
        own_loop(OwnNetwork()).to_classifier(OWN, CLASSES[:2])
    bent = own_loop(nn.Sequential(OwnNetwork(), nn.Sigmoid()))
    with pytest.raises(TrainingError, match="linear layer on its pooled features"):
        bent.to_classifier(OWN, CLASSES)
    with pytest.raises(TrainingError, match="no linear layer there"):
        own_loop(nn.Sequential(nn.Conv2d(3, 3, 32), nn.Flatten())).to_classifier(OWN, CLASSES)


@pytest.mark.slow
def test_another_number_of_classes_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"3 class names.*found 4"):
        loop().to_classifier(None, (*CLASSES, "dog"))


@pytest.mark.slow
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
