"""One set of tests over every row of the catalogue: what it says must be what the network and torchvision say."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import get_weight

from headstart.backbones.backbone import Backbone, build_backbone
from headstart.backbones.catalogue import SPECS, BackboneSpec, find_spec
from headstart.backbones.feature_extractor import POOL
from headstart.backbones.preprocess import Preprocess
from headstart.backbones.replace_head import in_classification_head, replace_head
from headstart.errors import BackboneError
from headstart.hooks import capture

every_row = pytest.mark.parametrize("row", SPECS.values(), ids=lambda row: row.name)
FROM_TORCHVISION = [row for row in SPECS.values() if row.weights]
SLOW = {"alexnet", "resnet34", "resnet50", "inception_v3", "convnext_tiny", "vit_b_16"}
each_row_in_memory = pytest.mark.parametrize(
    "row",
    [pytest.param(row, marks=pytest.mark.slow if row.name in SLOW else (), id=row.name) for row in SPECS.values()],
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
    "cifar_resnet20": "linear",
    "cifar_resnet56": "linear",
}


def _on_meta(row: BackboneSpec) -> Backbone:
    with torch.device("meta"):
        return build_backbone(row)


def _pixels(row: BackboneSpec, count: int = 2, device: str = "cpu") -> Tensor:
    size = row.crop if row.name == "vit_b_16" or row.crop <= 96 else 112  # a transformer takes one size only
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 3, size, size, generator=generator).to(device)


def _set(network: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(network.get_submodule(parent), name, module)


@every_row
def test_a_row_says_who_made_it_and_under_which_licence(row: BackboneSpec) -> None:
    assert row.licence
    assert row.code_licence
    assert row.origin
    assert row.title
    assert "arXiv:" in row.paper


@every_row
def test_stages_parameters_and_operations_are_as_the_row_says(row: BackboneSpec) -> None:
    network = _on_meta(row).network
    modules = dict(network.named_modules())
    wanted = {stage.name: modules[stage.module] for stage in row.stages}

    with torch.no_grad(), capture(wanted) as outputs, FlopCounterMode(display=False) as counter:
        network(torch.zeros(2, 3, row.crop, row.crop, device="meta"))

    widths = {stage.name: POOL[stage.pool](outputs[stage.name]).shape[1] for stage in row.stages}
    assert widths == {stage.name: stage.width for stage in row.stages}
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(row.parameters, abs=1e-6)
    # attention's own products are not in torchvision's count, nor in every version of torch's
    assert counter.get_total_flops() / 2e9 == pytest.approx(row.gflop, rel=0.05, abs=0.001)


@every_row
def test_features_are_all_stages_side_by_side(row: BackboneSpec) -> None:
    backbone = _on_meta(row)

    features = backbone.features(torch.zeros(2, 3, row.crop, row.crop, device="meta"))

    assert features.shape == (2, sum(backbone.widths))
    assert list(backbone.slices) == list(backbone.stages)
    assert [part.stop - part.start for part in backbone.slices.values()] == list(backbone.widths)
    assert backbone.slices[backbone.stages[-1]].stop == features.shape[1]


@every_row
def test_stage_names_are_unique_and_pooled_is_the_last(row: BackboneSpec) -> None:
    names = [stage.name for stage in row.stages]

    assert len(set(names)) == len(names)
    assert row.stage("pooled") is row.stages[-1]
    assert row.choose_stages("pooled") == (names[-1],)
    assert row.choose_stages("auto") == tuple(names[-2:])
    assert row.choose_stages("all") == tuple(names)
    assert row.choose_stages(f"pooled, {names[0]}") == (names[0], names[-1])
    assert row.stage(row.stages[0].module) is row.stages[0]


@pytest.mark.parametrize("row", FROM_TORCHVISION, ids=lambda row: row.name)
def test_what_a_row_says_is_what_torchvision_says(row: BackboneSpec) -> None:
    weights = get_weight(row.weights)
    theirs = weights.transforms()

    ours = Preprocess.of(row)

    assert [ours.resize] == theirs.resize_size
    assert [ours.crop] == theirs.crop_size
    assert ours.interpolation == theirs.interpolation.value
    assert list(ours.mean) == theirs.mean
    assert list(ours.std) == theirs.std
    assert row.url == weights.url
    assert row.parameters * 1e6 == pytest.approx(weights.meta["num_params"])
    assert row.gmac == pytest.approx(weights.meta["_ops"])
    assert row.megabytes == pytest.approx(weights.meta["_file_size"] * 1.048576, abs=0.06)  # theirs is in MiB


@each_row_in_memory
def test_the_last_stage_is_the_classical_penultimate_feature(row: BackboneSpec) -> None:
    backbone = build_backbone(row, seed=1)
    pixels = _pixels(row)

    last = backbone.features(pixels)[:, backbone.slices[backbone.stages[-1]]]

    if row.name in LAST:  # our own networks have no head to remove
        _set(backbone.network, LAST[row.name], nn.Identity())
    with torch.inference_mode():
        expected = backbone.network(pixels)
    assert last.std() > 0
    assert torch.allclose(last, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


@each_row_in_memory
def test_the_head_can_be_replaced_and_stands_on_the_last_stage(row: BackboneSpec) -> None:
    backbone = build_backbone(row)
    pixels = _pixels(row)
    before = backbone.fingerprint

    network = replace_head(backbone.network, row, 5)

    last = backbone.features(pixels)[:, backbone.slices[backbone.stages[-1]]]
    new = [module for module in network.modules() if isinstance(module, nn.Linear) and module.out_features == 5]
    assert len(new) == (2 if row.name == "inception_v3" else 1)
    assert all(parameter.requires_grad for module in new for parameter in module.parameters())
    if row.head:
        with torch.inference_mode():
            assert torch.allclose(network(pixels), new[-1](last), rtol=1e-4, atol=1e-5)
        assert backbone.fingerprint == before


@each_row_in_memory
def test_the_state_without_the_head_makes_the_same_backbone_again(row: BackboneSpec) -> None:
    first, second = build_backbone(row, seed=1), build_backbone(row, seed=2)
    pixels = _pixels(row, 1)
    state = {name: tensor.clone() for name, tensor in first.state().items()}

    second.load_state(state)

    assert not any(in_classification_head(name, row) for name in state)
    assert second.fingerprint == first.fingerprint
    assert torch.equal(second.features(pixels), first.features(pixels))
    assert not second.has_pretrained_head


def test_inception_has_two_outputs_while_training_and_both_heads_are_replaced() -> None:
    with torch.device("meta"):
        network = replace_head(build_backbone(SPECS["inception_v3"]).network, SPECS["inception_v3"], 7)
        network.train()
        logits, auxiliary = network(torch.zeros(2, 3, 299, 299))

    assert logits.shape == auxiliary.shape == (2, 7)


@every_row
def test_a_builder_is_named_by_module_and_function(row: BackboneSpec) -> None:
    module, function = row.builder.split(":")

    assert callable(getattr(importlib.import_module(module), function))


def test_an_unknown_backbone_names_the_near_ones() -> None:
    with pytest.raises(BackboneError, match=r"Did you mean resnet18 or resnet"):
        find_spec("resnet81")


def test_an_unknown_stage_names_the_near_ones() -> None:
    with pytest.raises(BackboneError, match="Did you mean stage4"):
        SPECS["resnet18"].choose_stages("pooled,stage44")


def test_a_head_without_classes_is_refused() -> None:
    with pytest.raises(BackboneError, match="at least one class"):
        replace_head(nn.Linear(1, 1), SPECS["resnet18"], 0)


def test_the_catalogue_can_be_listed_without_torch() -> None:
    code = "import sys; import headstart.backbones.catalogue as c; print(len(c.SPECS), 'torch' in sys.modules)"

    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert printed.split() == [str(len(SPECS)), "False"]
