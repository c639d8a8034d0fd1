"""A cut network is the whole network in two parts, and what passes the boundary is small."""

from __future__ import annotations

import pytest
import torch

import headstart
from headstart.backbones.backbone import build_backbone
from headstart.backbones.catalogue import SPECS
from headstart.backbones.cut_network import CutNetwork, boundary_shapes
from headstart.errors import BackboneError
from headstart.freezing import FreezePolicy


def cut_at(row: str, until: str, layers: str = "auto") -> tuple[CutNetwork, torch.nn.Module, FreezePolicy]:
    backbone = build_backbone(SPECS[row])
    body = backbone.feature_extractor(backbone.spec.choose_stages(layers)).body
    policy = headstart.freeze(backbone, until=until)

    def trains(path: str) -> bool:
        frozen = path in policy.tensors or any(f"{path}.".startswith(f"{name}.") for name in policy.modules)
        return not frozen

    return CutNetwork(body, trains), body, policy


@pytest.mark.parametrize(
    ("row", "until", "boundary"),
    [
        ("cifar_resnet20", "stage3", [(32, 16, 16), (32,)]),
        ("random", "stage4", [(128, 6, 6), (128,)]),
        ("squeezenet1_1", "features.10", [(384, 13, 13)]),
        pytest.param("resnet18", "stage4", [(256, 14, 14), (256,)], marks=pytest.mark.slow),
        pytest.param("mobilenet_v3_small", "stage6", [(96, 7, 7)], marks=pytest.mark.slow),
        pytest.param("vit_b_16", "stage4", [(197, 768), (768,)], marks=pytest.mark.slow),
        pytest.param("convnext_tiny", "stage4", [(384,), (14, 14, 384)], marks=pytest.mark.slow),
        pytest.param("efficientnet_b0", "stage8", [(320, 7, 7), (320,)], marks=pytest.mark.slow),
        pytest.param("alexnet", "fc6", [(256, 6, 6)], marks=pytest.mark.slow),
    ],
)
def test_prefix_and_tail_are_the_whole_and_the_boundary_is_small(
    row: str, until: str, boundary: list[tuple[int, ...]]
) -> None:
    cut, body, _ = cut_at(row, until)
    side = SPECS[row].crop
    pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(cut.tail(*cut.prefix(pixels)), body(pixels))
        assert {tuple(shape) for shape in boundary} <= set(boundary_shapes(cut.prefix, side))


def test_only_pooled_vectors_of_early_stages_pass() -> None:
    cut, _, _ = cut_at("cifar_resnet20", "stage3", "all")
    shapes = boundary_shapes(cut.prefix, 32)
    assert sorted(shapes)[:3] == [(16,), (16,), (32,)]  # stem, stage1, stage2, each averaged over its map


def test_prefix_and_tail_share_their_weights_with_the_network() -> None:
    cut, body, policy = cut_at("cifar_resnet20", "stage3")
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        body.layer3.get_submodule("0").conv1.weight.mul_(1.5)
        assert torch.allclose(cut.tail(*cut.prefix(pixels)), body(pixels), atol=1e-6)
    trained = [name for name, p in cut.tail.named_parameters() if p.requires_grad]
    assert all(name.startswith("layer3") for name in trained)
    assert not any(p.requires_grad for p in cut.prefix.parameters())
    assert len(policy.modules) > 0


def test_a_boundary_with_nothing_on_one_side_is_an_error() -> None:
    body = build_backbone(SPECS["random"]).feature_extractor(["stage4"]).body
    with pytest.raises(BackboneError, match="nothing before it"):
        CutNetwork(body, lambda path: True)
    with pytest.raises(BackboneError, match="nothing after it"):
        CutNetwork(body, lambda path: False)
