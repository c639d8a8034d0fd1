"""Before training: weights that were trained on images prepared in another way stop it, unless the user says so."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from headstart.backbones.spec import IMAGENET_MEAN, IMAGENET_STD
from headstart.errors import BackboneError
from headstart.progress import Event
from headstart.workbench.train import train


def quiet(event: Event) -> None:
    """Nobody listens."""


def planted(weights: Path, file: Path) -> Path:
    """The real CIFAR network, changed so that it gives the same for pixels from 0 to 255 as it gave for normalised."""
    state = load_file(weights)
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    first = state["conv1.weight"]
    # w·(p/255 - m)/s = (w/255s)·p - Σ w·m/s, and the batch norm takes its mean off
    state["bn1.running_mean"] += (first * (mean / std)[None, :, None, None]).sum((1, 2, 3))
    state["conv1.weight"] = first / (255 * std)[None, :, None, None]
    save_file(state, file)
    return file


@pytest.fixture
def pictures(test_data: Path, tmp_path: Path) -> Path:
    """Eighty pictures of CIFAR-10, two classes."""
    for kind in ("cat", "truck"):
        (tmp_path / "set" / kind).mkdir(parents=True)
        for path in sorted((test_data / "cifar10_sample" / "test" / kind).iterdir())[:40]:
            (tmp_path / "set" / kind / path.name).write_bytes(path.read_bytes())
    return tmp_path / "set"


KNOBS = {"backbone": "cifar_resnet20", "on_event": quiet, "group_by": "none", "inside": False}


@pytest.mark.slow
def test_weights_that_know_another_preprocessing_stop_the_training(
    pictures: Path, test_data: Path, tmp_path: Path
) -> None:
    right = test_data / "weights" / "cifar10_resnet20.safetensors"
    wrong = planted(right, tmp_path / "raw.safetensors")
    with pytest.raises(BackboneError, match="statistics of its first batch norm fit") as caught:
        train(pictures, out=tmp_path / "run", weights=str(wrong), **KNOBS)
    assert "--accept-preprocessing" in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_verdict_on_the_preprocessing_is_in_the_record(pictures: Path, test_data: Path, tmp_path: Path) -> None:
    right = test_data / "weights" / "cifar10_resnet20.safetensors"
    wrong = planted(right, tmp_path / "raw.safetensors")

    accepted = train(pictures, out=tmp_path / "run", weights=str(wrong), accept_preprocessing=True, **KNOBS)
    fine = train(pictures, out=tmp_path / "fine", weights=str(right), **KNOBS)

    assert accepted.record["preprocessing"]["verdict"] == "stop"
    assert fine.record["preprocessing"]["verdict"] == "fine"


@pytest.mark.slow
def test_random_weights_are_not_asked(photos: Path, tmp_path: Path) -> None:
    run = train(photos, out=tmp_path / "run", backbone="random", inside=False, on_event=quiet)
    assert run.record["preprocessing"]["verdict"] == "not checkable"
    norm = run.classifier.backbone.network.get_submodule("stem.1")
    assert not torch.equal(norm.running_mean, torch.zeros_like(norm.running_mean))
