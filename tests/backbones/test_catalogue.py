"""One set of tests over every spec of the catalogue: what it says must be what the network and torchvision say."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import get_weight

from headstart.backbones.backbone import Backbone, build_backbone
from headstart.backbones.catalogue import AUTO, EFFORTS, SPECS, TOGETHER, BackboneSpec, find_spec, rank_backbones
from headstart.backbones.feature_extractor import POOL
from headstart.backbones.preprocess import Preprocess
from headstart.backbones.replace_head import in_classification_head, replace_head
from headstart.errors import BackboneError
from headstart.hooks import capture

every_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=lambda spec: spec.name)
FROM_TORCHVISION = [spec for spec in SPECS.values() if spec.weights]
SLOW = {"alexnet", "resnet34", "resnet50", "inception_v3", "convnext_tiny", "vit_b_16"}
each_spec_in_memory = pytest.mark.parametrize(
    "spec",
    [pytest.param(spec, marks=pytest.mark.slow if spec.name in SLOW else (), id=spec.name) for spec in SPECS.values()],
)
# where each network's last linear layer is, read from torchvision's sources
LAST = {
    "alexnet": "classifier.6",
    "resnet18": "fc",
    "resnet34": "fc",
    "resnet50": "fc",
    "inception_v3": "fc",
    "squeezenet1_0": "classifier.1",  # a convolution; ReLU and the average over the map come after it
    "squeezenet1_1": "classifier.1",
    "mobilenet_v2": "classifier.1",
    "mobilenet_v2_035": "classifier.1",
    "mobilenet_v3_small": "classifier.3",
    "mobilenet_v3_large": "classifier.3",
    "efficientnet_b0": "classifier.1",
    "convnext_tiny": "classifier.2",
    "vit_b_16": "heads.head",
    "efficientnet_lite0": "classifier",
    "efficientnet_lite2": "classifier",
    "cifar_resnet20": "linear",
    "cifar_resnet56": "linear",
}


def _on_meta(spec: BackboneSpec) -> Backbone:
    with torch.device("meta"):
        return build_backbone(spec)


def _pixels(spec: BackboneSpec, count: int = 2, device: str = "cpu") -> Tensor:
    size = spec.crop if spec.name == "vit_b_16" or spec.crop <= 96 else 112  # a transformer takes one size only
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 3, size, size, generator=generator).to(device)


def _set(network: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(network.get_submodule(parent), name, module)


@every_spec
def test_a_spec_says_who_made_it_and_under_which_licence(spec: BackboneSpec) -> None:
    assert spec.licence
    assert spec.code_licence
    assert spec.origin
    assert spec.title
    assert "arXiv:" in spec.paper


@pytest.mark.slow
@every_spec
def test_stages_parameters_and_operations_are_as_the_spec_says(spec: BackboneSpec) -> None:
    network = _on_meta(spec).network
    modules = dict(network.named_modules())
    wanted = {stage.name: modules[stage.module] for stage in spec.stages}

    with torch.no_grad(), capture(wanted) as outputs, FlopCounterMode(display=False) as counter:
        network(torch.zeros(2, 3, spec.crop, spec.crop, device="meta"))

    widths = {stage.name: POOL[stage.pool](outputs[stage.name]).shape[1] for stage in spec.stages}
    assert widths == {stage.name: stage.width for stage in spec.stages}
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(spec.parameters, abs=1e-6)
    # attention's own products are not in torchvision's count, nor in every version of torch's
    assert counter.get_total_flops() / 2e9 == pytest.approx(spec.gflop, rel=0.05, abs=0.001)


@every_spec
@pytest.mark.slow
def test_features_are_all_stages_side_by_side(spec: BackboneSpec) -> None:
    backbone = _on_meta(spec)

    features = backbone.features(torch.zeros(2, 3, spec.crop, spec.crop, device="meta"))

    assert features.shape == (2, sum(backbone.widths))
    assert list(backbone.slices) == list(backbone.stages)
    assert [part.stop - part.start for part in backbone.slices.values()] == list(backbone.widths)
    assert backbone.slices[backbone.stages[-1]].stop == features.shape[1]


@every_spec
def test_stage_names_are_unique_and_pooled_is_the_last(spec: BackboneSpec) -> None:
    names = [stage.name for stage in spec.stages]

    assert len(set(names)) == len(names)
    assert spec.stage("pooled") is spec.stages[-1]
    assert spec.choose_stages("pooled") == (names[-1],)
    assert spec.choose_stages("auto") == (spec.auto_stages or tuple(names[-3:]))
    assert spec.choose_stages("all") == tuple(names)
    assert spec.choose_stages(f"pooled, {names[0]}") == (names[0], names[-1])
    assert spec.stage(spec.stages[0].module) is spec.stages[0]


@pytest.mark.parametrize("spec", FROM_TORCHVISION, ids=lambda spec: spec.name)
def test_a_spec_agrees_with_torchvision(spec: BackboneSpec) -> None:
    weights = get_weight(spec.weights)
    theirs = weights.transforms()

    ours = Preprocess.of(spec)

    assert [ours.resize] == theirs.resize_size
    assert [ours.crop] == theirs.crop_size
    assert ours.interpolation == theirs.interpolation.value
    assert list(ours.mean) == theirs.mean
    assert list(ours.std) == theirs.std
    assert spec.url == weights.url
    assert spec.parameters * 1e6 == pytest.approx(weights.meta["num_params"])
    assert spec.gmac == pytest.approx(weights.meta["_ops"])
    assert spec.megabytes == pytest.approx(weights.meta["_file_size"] * 1.048576, abs=0.06)  # theirs is in MiB


@each_spec_in_memory
@pytest.mark.slow
def test_the_last_stage_is_the_classical_penultimate_feature(spec: BackboneSpec) -> None:
    backbone = build_backbone(spec, seed=1)
    pixels = _pixels(spec)

    last = backbone.features(pixels)[:, backbone.slices[backbone.stages[-1]]]

    if spec.name in LAST:  # our own networks have no head to remove
        _set(backbone.network, LAST[spec.name], nn.Identity())
    with torch.inference_mode():
        expected = backbone.network(pixels)
    assert last.std() > 0
    assert torch.allclose(last, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


@pytest.mark.slow
@each_spec_in_memory
def test_the_head_can_be_replaced_and_stands_on_the_last_stage(spec: BackboneSpec) -> None:
    backbone = build_backbone(spec)
    pixels = _pixels(spec)
    before = backbone.fingerprint

    network = replace_head(backbone.network, spec, 5)

    last = backbone.features(pixels)[:, backbone.slices[backbone.stages[-1]]]
    new = [module for module in network.modules() if isinstance(module, nn.Linear) and module.out_features == 5]
    assert len(new) == (2 if spec.name == "inception_v3" else 1)
    assert all(parameter.requires_grad for module in new for parameter in module.parameters())
    if spec.head:
        with torch.inference_mode():
            assert torch.allclose(network(pixels), new[-1](last), rtol=1e-4, atol=1e-5)
        assert backbone.fingerprint == before


@each_spec_in_memory
@pytest.mark.slow
def test_the_state_without_the_head_makes_the_same_backbone_again(spec: BackboneSpec) -> None:
    first, second = build_backbone(spec, seed=1), build_backbone(spec, seed=2)
    pixels = _pixels(spec, 1)
    state = {name: tensor.clone() for name, tensor in first.state().items()}

    second.load_state(state)

    assert not any(in_classification_head(name, spec) for name in state)
    assert second.fingerprint == first.fingerprint
    assert torch.equal(second.features(pixels), first.features(pixels))
    assert not second.has_pretrained_head


@every_spec
def test_a_builder_is_named_by_module_and_function(spec: BackboneSpec) -> None:
    module, function = spec.builder.split(":")

    assert callable(getattr(importlib.import_module(module), function))


@pytest.mark.parametrize("effort", ["auto", "fast", "balanced", "accurate"])
def test_auto_ranks_what_was_measured_by_accuracy_within_its_work(effort: str) -> None:
    ranked = rank_backbones(effort)

    assert [spec.accuracy for spec in ranked] == sorted((spec.accuracy for spec in ranked), reverse=True)
    assert all(spec.gmac <= EFFORTS[AUTO if effort == "auto" else effort] for spec in ranked)
    assert ranked[0].name == ("efficientnet_lite2+efficientnet_lite0" if effort == "accurate" else "efficientnet_lite0")
    assert ranked[-1].name == "embedded"  # always there, so that auto ends somewhere
    assert (SPECS["resnet18"] in ranked) is (effort != "fast")


def test_the_accuracies_are_those_of_the_newest_benchmark() -> None:
    newest = max((Path(__file__).parents[2] / "benchmarks" / "results").glob("*-backbones.json"))
    measured = {line["name"]: round(line["value"], 3) for line in json.loads(newest.read_text())["lines"]}

    assert {spec.name: spec.accuracy for spec in SPECS.values() if spec.accuracy} | TOGETHER == measured


def test_an_unknown_backbone_names_the_near_ones() -> None:
    with pytest.raises(BackboneError, match=r"Did you mean resnet18 or resnet"):
        find_spec("resnet81")


def test_the_catalogue_can_be_listed_without_torch() -> None:
    code = "import sys; import headstart.backbones.catalogue as c; print(len(c.SPECS), 'torch' in sys.modules)"

    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert printed.split() == [str(len(SPECS)), "False"]
