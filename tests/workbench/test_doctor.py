"""The verb doctor: by name, by file, by folder of a run, with images, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from headstart.classifier.classifier import Classifier
from headstart.errors import BackboneError, ClassifierError, RecipeError
from headstart.progress import Event
from headstart.training.stepbystep import StepByStep
from headstart.workbench.doctor import doctor
from headstart.workbench.run import Run


def quiet(_: Event) -> None:
    """Hears nothing."""


def test_a_name_is_loaded_with_its_weights():
    diagnosis = doctor("embedded", on_event=quiet)
    assert diagnosis.name == "embedded"
    assert "statistics never updated" in diagnosis.passed


@pytest.mark.slow
def test_a_run_and_its_file_are_the_same_and_images_are_brought_as_the_card_says(run: Run, photos: Path):
    folder = doctor(run.folder, source=photos, on_event=quiet)
    file = doctor(str(run.folder / "classifier.safetensors"), source=photos, on_event=quiet)
    assert json.dumps(folder.to_dict()) == json.dumps(file.to_dict())
    assert folder.worst in ("", "advice")
    expected = {"images do not match the card", "failing forward pass", "dead ReLUs", "outdated classifier file"}
    assert expected | {"outputs and classes differ"} <= set(folder.passed) | {one.name for one in folder.findings}


def test_loaded_models_and_their_training_are_taken_too(run: Run):
    network = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    diagnosis = doctor(network, optimizer=optimizer, batch_size=4, steps=10, on_event=quiet)
    names = {finding.name for finding in diagnosis.findings}
    assert {"batches too small for batch norm", "outdated statistics after training"} <= names
    assert "parameters missing from the optimiser" in diagnosis.passed
    opened = doctor(Classifier.load(run.folder), on_event=quiet)
    assert "outdated classifier file" in {one.rule for one in opened.not_checked}


def test_what_cannot_be_opened_is_said(tmp_path: Path, photos: Path):
    with pytest.raises(BackboneError, match="Did you mean resnet18"):
        doctor("resnet81", on_event=quiet)
    with pytest.raises(ClassifierError, match="no such file"):
        doctor(str(tmp_path / "gone.safetensors"), on_event=quiet)
    with pytest.raises(RecipeError, match="how images are preprocessed"):
        doctor(nn.Conv2d(3, 3, 1), source=photos, on_event=quiet)


def test_single_rules_can_be_chosen() -> None:
    diagnosis = doctor(nn.Conv2d(3, 3, 1), rules=["non-finite weights"], on_event=quiet)
    assert diagnosis.passed == ("non-finite weights",)
    assert diagnosis.not_checked == diagnosis.not_applicable == ()


@pytest.mark.parametrize("wrap", [lambda network: network, nn.DataParallel])
def test_a_training_loop_brings_its_network_optimizer_and_batch_size(wrap: Callable[[nn.Module], nn.Module]) -> None:
    network = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8))
    loop = StepByStep(network, nn.CrossEntropyLoss(), torch.optim.SGD(network.parameters(), lr=0.1))
    loop.set_loaders(DataLoader(TensorDataset(torch.randn(8, 4), torch.zeros(8).long()), 2))
    loop.model = wrap(network)
    expected = doctor(network, optimizer=loop.optimizer, batch_size=2, on_event=quiet)
    assert doctor(loop, on_event=quiet) == expected
    assert "batches too small for batch norm" in {finding.name for finding in expected.findings}
    assert doctor(StepByStep(network, None, None), on_event=quiet) == doctor(network, on_event=quiet)


@pytest.mark.parametrize("model", [42, None, [nn.Linear(1, 1)]])
def test_what_holds_no_network_is_an_error_of_ours(model: Any) -> None:
    with pytest.raises(RecipeError, match="a StepByStep, found"):
        doctor(model, on_event=quiet)
