"""Real pretrained weights on real photographs: what they were trained for must come out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from headstart.backbones.backbone import Backbone, load_backbone
from headstart.data.images import open_image

FILES = {
    "resnet18": "resnet18_imagenet",
    "squeezenet1_0": "squeezenet1_0_imagenet",
    "mobilenet_v2_035": "mobilenet_v2_035_imagenet_features",
    "cifar_resnet20": "cifar10_resnet20",
    "cifar_resnet56": "cifar10_resnet56",
}
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
ANT, BEE = 310, 309  # in ImageNet's order


def _load(name: str, test_data: Path) -> Backbone:
    return load_backbone(name, weights=str(test_data / "weights" / f"{FILES[name]}.safetensors"), offline=True)


def _pixels(backbone: Backbone, paths: list[Path]) -> Tensor:
    return backbone.preprocess.normalise(torch.stack([backbone.preprocess.prepare(open_image(p).rgb) for p in paths]))


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_real_weights_load_and_only_the_keras_export_has_no_head(name: str, test_data: Path) -> None:
    backbone = _load(name, test_data)

    size = backbone.preprocess.crop
    features = backbone.features(torch.zeros(1, 3, size, size))

    assert features.isfinite().all()
    assert backbone.has_pretrained_head == (name != "mobilenet_v2_035")


def _right_names(backbone: Backbone, folders: dict[Path, int]) -> float:
    right = total = 0
    for folder, label in folders.items():
        paths = sorted(folder.iterdir())
        for start in range(0, len(paths), 16):
            logits = backbone.pretrained_logits(_pixels(backbone, paths[start : start + 16]))
            right += int((logits.argmax(1) == label).sum())
        total += len(paths)
    return right / total


@pytest.mark.slow
def test_resnet18_names_three_quarters_of_the_ants_and_bees(test_data: Path) -> None:
    val = test_data / "hymenoptera" / "val"

    share = _right_names(_load("resnet18", test_data), {val / "ants": ANT, val / "bees": BEE})

    assert share == pytest.approx(0.752, abs=0.007)  # one image of 153 is 0.0065


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("cifar_resnet20", 0.77, 0.85), pytest.param("cifar_resnet56", 0.79, 0.87, marks=pytest.mark.slow)],
)
def test_the_cifar_networks_name_cifar_images(name: str, low: float, high: float, test_data: Path) -> None:
    test = test_data / "cifar10_sample" / "test"

    share = _right_names(_load(name, test_data), {test / label: i for i, label in enumerate(CIFAR10)})

    assert low < share < high
