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


@pytest.mark.slow
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


@pytest.mark.slow
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
def test_a_training_loop_brings_what_it_knows(wrap: Callable[[nn.Module], nn.Module]) -> None:
    network = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8))
    loop = StepByStep(network, nn.CrossEntropyLoss(), torch.optim.SGD(network.parameters(), lr=0.1))
    samples = torch.randn(8, 4), torch.arange(8)
    loop.set_loaders(DataLoader(TensorDataset(*samples), 2, shuffle=True))
    loop.model = wrap(network)
    network.eval()  # as a validation leaves it
    chance = torch.get_rng_state()
    found = doctor(loop, on_event=quiet)
    assert torch.equal(torch.get_rng_state(), chance)
    assert not network.training
    given = {"optimizer": loop.optimizer, "loss": loop.loss_fn, "batch": samples, "batch_size": 2}
    assert found == doctor(network.train(), **given, on_event=quiet)
    assert "batches too small for batch norm" in {finding.name for finding in found.findings}
    assert "labels outside the classes" in found.passed
    assert doctor(StepByStep(network, None, None), on_event=quiet) == doctor(network, on_event=quiet)


def test_labels_and_losses_of_a_training_loop_are_checked() -> None:
    network = nn.Linear(4, 3)
    loop = StepByStep(network, nn.NLLLoss(), torch.optim.SGD(network.parameters(), lr=0.1))
    loop.train_loader = DataLoader(TensorDataset(torch.randn(40, 4), torch.arange(40) // 10), 20)
    names = {finding.name for finding in doctor(loop, on_event=quiet).findings}
    assert {"labels outside the classes", "loss and output do not fit"} <= names


def test_a_data_set_that_fails_leaves_the_rules_about_batches_unchecked() -> None:
    class Failing(TensorDataset):
        def __getitem__(self, index: int) -> Any:
            raise OSError("gone")

    network = nn.Linear(4, 3)
    loop = StepByStep(network, nn.CrossEntropyLoss(), torch.optim.SGD(network.parameters(), lr=0.1))
    loop.train_loader = DataLoader(Failing(torch.zeros(3, 4)), 2)
    assert "labels outside the classes" in {one.rule for one in doctor(loop, on_event=quiet).not_checked}


@pytest.mark.parametrize("model", [42, None, [nn.Linear(1, 1)]])
def test_what_holds_no_network_is_an_error_of_ours(model: Any) -> None:
    with pytest.raises(RecipeError, match="a StepByStep, found"):
        doctor(model, on_event=quiet)
