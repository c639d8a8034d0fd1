"""recalibrate: new statistics on a copy, compared in pairs; the prior's mixture against its formula."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from headstart.backbones.backbone import build_backbone
from headstart.backbones.catalogue import find_spec
from headstart.backbones.recalibrate import recalibrate_batch_norm
from headstart.classifier.classifier import Classifier
from headstart.errors import ClassifierError
from headstart.progress import Event
from headstart.workbench.recalibrate import recalibrate
from headstart.workbench.run import Run
from small_models import make_classifier


def quiet(event: Event) -> None:
    """Nobody listens."""


@pytest.fixture(scope="module")
def dark(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same images, much darker."""
    folder = tmp_path_factory.mktemp("dark")
    for path in photos.rglob("*.png"):
        there = folder / path.relative_to(photos)
        there.parent.mkdir(exist_ok=True)
        Image.open(path).convert("RGB").point(lambda value: value // 16).save(there)
    return folder


@pytest.mark.parametrize("prior", [0.0, 5.0])
def test_the_prior_is_a_mixture_of_old_images_and_new_ones(prior: float) -> None:
    norm = nn.BatchNorm2d(2)
    norm.running_mean.copy_(torch.tensor([1.0, -1.0]))
    norm.running_var.copy_(torch.tensor([2.0, 0.5]))
    x = torch.randn(7, 2, 5, 5, generator=torch.Generator().manual_seed(0)) * 3 + 4
    assert recalibrate_batch_norm(norm, lambda: [x[:3], x[3:]], prior=prior) == 1
    new_mean = x.mean((0, 2, 3))
    new_var = x.transpose(0, 1).flatten(1).var(1)
    if not prior:
        expected = new_mean, new_var
    else:  # draw from the old law with 5 of 12, from the new images with 7 of 12
        old = 5 / 12
        mean = old * torch.tensor([1.0, -1.0]) + (1 - old) * new_mean
        second = old * (torch.tensor([2.0, 0.5]) + torch.tensor([1.0, 1.0])) + (1 - old) * (new_var + new_mean**2)
        expected = mean, second - mean**2
    assert torch.allclose(norm.running_mean, expected[0], atol=1e-5)
    assert torch.allclose(norm.running_var, expected[1], rtol=1e-4)


@pytest.mark.slow
def test_a_domain_of_dark_images_is_answered_better_and_the_old_file_stays(
    run_folder: Path, dark: Path, tmp_path: Path
) -> None:
    run = Run.load(shutil.copytree(run_folder, tmp_path / "run"))
    before = (run.folder / "classifier.safetensors").read_bytes()
    found = recalibrate(run.folder, dark, prior=0, on_event=quiet)
    assert (run.folder / "classifier.safetensors").read_bytes() == before
    assert found.path.name == "classifier-recalibrated.safetensors"
    assert found.comparison is not None
    assert found.same_images
    assert found.comparison.n == found.asked == 48
    model = Classifier.load(found.path)
    names = sorted(dark.rglob("*.png"))
    right = np.mean([p.label == path.parent.name for p, path in zip(model.predict(names), names, strict=True)])
    assert right == pytest.approx(found.comparison.b.value)
    assert found.comparison.b.value > found.comparison.a.value
    assert "measured again" in model.card.weights["source"]
    assert model.card.metrics == {}
    old = run.classifier.backbone.state()
    for name, tensor in model.backbone.state().items():
        same = torch.equal(tensor, old[name])
        assert same == ("running" not in name), name
    with pytest.raises(ClassifierError, match="exists already"):
        recalibrate(run.folder, dark, on_event=quiet)


@pytest.mark.slow
def test_images_without_labels_give_statistics_and_no_verdict(run: Run, dark: Path, tmp_path: Path) -> None:
    some = next(path for path in dark.iterdir() if path.is_dir())
    found = recalibrate(run.classifier, some, out=tmp_path / "new.safetensors", on_event=quiet)
    assert found.comparison is None
    assert "Without labels" in str(found)
    assert found.images == 16
    assert found.to_dict()["comparison"] is None


@pytest.mark.slow
def test_a_network_without_batch_norm_is_refused_and_nothing_is_written(photos: Path, tmp_path: Path) -> None:
    model = make_classifier(classes=("disc", "square", "stripes"), backbone=build_backbone(find_spec("squeezenet1_1")))
    model.save(tmp_path / "classifier.safetensors")

    shutil.copytree(photos / "disc", tmp_path / "few", ignore=lambda _, names: names[2:])

    with pytest.raises(ClassifierError, match="which has none"):
        recalibrate(tmp_path / "classifier.safetensors", tmp_path / "few", on_event=quiet)
    assert not list(tmp_path.glob("*recalibrated*"))
