"""Networks side by side give the features that each gives alone, on the pixels that each wants."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from headstart.backbones.backbone import Backbone, build_backbone, load_backbone
from headstart.backbones.catalogue import SPECS, find_spec
from headstart.backbones.preprocess import Preprocess
from headstart.classifier.card import Card
from headstart.classifier.classifier import Classifier
from headstart.engines.forward import folded_forward
from headstart.errors import BackboneError
from headstart.heads.head import Head

PARTS = ("cifar_resnet20", "mobilenet_v2_035")  # other means and deviations
NAME = "+".join(PARTS)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("weights")
    for i, name in enumerate(PARTS):
        save_file(build_backbone(SPECS[name], seed=i).state(), folder / f"{name}.safetensors")
    return {name: str(folder / f"{name}.safetensors") for name in PARTS}


@pytest.fixture(scope="module")
def joined(files: dict[str, str]) -> Backbone:
    return load_backbone(NAME, weights=",".join(files.values()), offline=True)


@pytest.mark.slow
def test_the_features_of_each_are_those_that_it_gives_alone(joined: Backbone, files: dict[str, str]) -> None:
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

    features = joined.features(joined.preprocess.normalise(images))

    for name in PARTS:
        alone = load_backbone(name, weights=files[name], offline=True)
        expected = alone.features(Preprocess.of(SPECS[name]).normalise(images))
        for stage in alone.stages:
            found = features[:, joined.slices[f"{name}.{stage}"]]
            torch.testing.assert_close(found, expected[:, alone.slices[stage]], rtol=1e-4, atol=1e-5)


def test_it_says_where_both_are_from(joined: Backbone) -> None:
    assert joined.weights.source == "; ".join(f"{name}: {name}.safetensors" for name in PARTS)
    assert not joined.has_pretrained_head
    assert not [name for name in joined.state() if "linear" in name or "classifier" in name]


@pytest.mark.slow
def test_it_can_be_folded(joined: Backbone) -> None:
    pixels = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))

    torch.testing.assert_close(folded_forward(joined)(pixels), joined.features(pixels), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_classifier_on_both_is_saved_and_opened_as_one_file(joined: Backbone, tmp_path: Path) -> None:
    stages = joined.spec.choose_stages("pooled")
    width = sum(joined.spec.stage(name).width for name in stages)
    weight = torch.randn(width, 2, generator=torch.Generator().manual_seed(2)).double().numpy()
    head = Head(kind="ridge", stages=stages, weight=weight, bias=weight[0] * 0, temperature=1.0)
    path = tmp_path / "both.safetensors"

    Classifier(joined, head, Card.of(joined, head, ("a", "b"))).save(path)

    opened = Classifier.load(path)
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    assert opened.backbone.spec.name == NAME
    assert torch.equal(opened.backbone.features(pixels), joined.features(pixels))


@pytest.mark.slow
def test_the_number_of_files_and_a_size_that_one_cannot_take_are_refused(files: dict[str, str]) -> None:
    with pytest.raises(BackboneError, match="2 files of weights"):
        load_backbone(NAME, weights=files["cifar_resnet20"], offline=True)
    with pytest.raises(BackboneError, match="fixed first"):
        build_backbone(find_spec("cifar_resnet20+vit_b_16"))


@pytest.mark.slow
def test_one_network_sees_the_image_at_two_sizes() -> None:
    both, alone = load_backbone("embedded@160+embedded@104"), load_backbone("embedded")
    pixels = torch.randn(2, 3, 160, 160, generator=torch.Generator().manual_seed(3))
    small = torch.nn.functional.interpolate(pixels, (104, 104), mode="bilinear", antialias=True)

    features = both.features(pixels)

    for stage in alone.stages:
        for name, seen in (("embedded@160", pixels), ("embedded@104", small)):
            found, expected = features[:, both.slices[f"{name}.{stage}"]], alone.features(seen)[:, alone.slices[stage]]
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(folded_forward(both)(pixels), features, rtol=1e-4, atol=1e-5)


def test_weights_of_two_sizes_are_one_file(files: dict[str, str]) -> None:
    part = PARTS[0]

    joined = load_backbone(f"{part}@48+{part}@32", weights=files[part], offline=True)

    first, second = (network.state_dict() for network in joined.network.networks)
    assert all(torch.equal(first[name], second[name]) for name in first)
    with pytest.raises(BackboneError, match="1 files of weights"):
        load_backbone(f"{part}@48+{part}@32", weights=f"{files[part]},{files[part]}", offline=True)
