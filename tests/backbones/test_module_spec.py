"""A user's module as a backbone: what is measured, what may be said instead, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet18, squeezenet1_1, vit_b_16

from headstart.backbones.backbone import Backbone
from headstart.backbones.preprocess import Preprocess
from headstart.backbones.spec import IMAGENET_MEAN, Stage
from headstart.errors import BackboneError


def stages_of(backbone: Backbone) -> list[tuple[str, int, str, str]]:
    return [(stage.module, stage.width, stage.pool, stage.side) for stage in backbone.spec.stages]


@pytest.mark.slow
def test_the_stages_of_a_residual_network_are_found() -> None:
    backbone = Backbone.from_module(resnet18(), preprocess={"size": 64})

    assert stages_of(backbone) == [
        ("layer1", 64, "map", "output"),
        ("layer2", 128, "map", "output"),
        ("layer3", 256, "map", "output"),
        ("fc", 512, "vector", "input"),
    ]
    assert backbone.stages == ("stage1", "stage2", "stage3", "final")
    assert backbone.spec.head == ("fc",)
    assert backbone.has_pretrained_head
    assert backbone.spec.parameters == pytest.approx(11.689512)
    assert backbone.spec.name == "ResNet"


def test_a_network_that_ends_in_a_convolution_has_its_last_map_as_the_final_stage() -> None:
    backbone, pixels = Backbone.from_module(squeezenet1_1(), preprocess={"size": 64}), torch.randn(2, 3, 64, 64)

    assert backbone.spec.head == ()
    final = backbone.features(pixels)[:, backbone.slices["final"]]
    with torch.inference_mode():
        assert torch.allclose(final, backbone.network(pixels), atol=1e-5)  # its own average over the map


@pytest.mark.slow
def test_the_input_of_a_transformers_head_is_its_final_stage() -> None:
    network = vit_b_16(image_size=32)

    backbone = Backbone.from_module(network, preprocess={"size": 32})

    assert stages_of(backbone)[-1] == ("heads.head", 768, "vector", "input")


@pytest.mark.parametrize(
    ("shape", "module", "expected"),
    [
        ((7, 4, 4), nn.Identity(), ("map", 7)),
        ((4, 4, 7), nn.Identity(), ("map-last", 7)),
        ((5, 7), nn.Identity(), ("tokens-mean", 7)),
        ((5, 7), nn.ParameterDict({"cls_token": nn.Parameter(torch.zeros(1))}), ("tokens-class", 7)),
        ((7,), nn.Identity(), ("vector", 7)),
    ],
)
def test_the_pool_follows_from_the_shape(shape: tuple[int, ...], module: nn.Module, expected: tuple[str, int]) -> None:
    class Shaped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.other, self.last = module, nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            return self.last(x.mean((1, 2, 3)).view(-1, *[1] * len(shape)).expand(-1, *shape))

    (stage,) = Backbone.from_module(Shaped(), preprocess={"size": 32}).spec.stages

    assert (stage.pool, stage.width) == expected


@pytest.mark.slow
def test_stages_can_be_named_in_any_order_and_come_in_that_of_the_forward_pass() -> None:
    network = resnet18()

    backbone = Backbone.from_module(network, preprocess={"size": 64}, stages={"late": "layer4", "early": "layer1"})

    assert stages_of(backbone) == [("layer1", 64, "map", "output"), ("layer4", 512, "map", "output")]
    assert backbone.stages == ("early", "late")
    whole = [Stage("only", "layer2", 128)]
    assert Backbone.from_module(network, preprocess={"size": 64}, stages=whole).spec.stages == (whole[0],)


def test_preprocess_is_taken_as_it_is_or_made_from_values() -> None:
    own = Preprocess(resize=40, crop=32, interpolation="bicubic", mean=(0.1, 0.2, 0.3), std=(1.0, 1.0, 1.0))
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())

    assert Backbone.from_module(network, preprocess=own).preprocess == own
    made = Backbone.from_module(network, preprocess={"size": 48, "std": [0.5, 0.5, 0.5]}).preprocess
    assert (made.resize, made.crop, made.mean, made.std) == (48, 48, IMAGENET_MEAN, (0.5, 0.5, 0.5))


class Odd(nn.Module):
    """Cannot be traced: it looks at its numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x))
        return self.fc((x if x.sum() > 1e9 else x.relu()).mean((2, 3)))


def test_a_network_that_cannot_be_traced_is_run_as_it_is() -> None:
    network, pixels = Odd(), torch.randn(3, 3, 32, 32)
    backbone = Backbone.from_module(network, preprocess={"size": 32}, stages={"norm": "norm", "relu": "fc"})

    features = backbone.features(pixels)

    with torch.inference_mode():
        maps = network.norm(network.conv(pixels))
        assert torch.allclose(features[:, :4], maps.mean((2, 3)), atol=1e-6)
        assert torch.allclose(features[:, 4:], network(pixels), atol=1e-6)
    network.train()
    assert torch.equal(backbone.features(pixels), features)
    assert not network.norm._forward_hooks


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"preprocess": {}}, "the key size"),
        ({"preprocess": {"siz": 32}}, "Did you mean size"),
        ({"preprocess": {"size": 32, "std": (0.0, 1.0, 1.0)}}, "above 0 as std"),
        (
            {"preprocess": {"size": 32}, "stages": {"a": "fcc"}},
            "run by the network, found 'fcc'.*Did you mean fc",
        ),
        ({"preprocess": {"size": 32}, "stages": {}}, "found none"),
    ],
)
def test_what_cannot_be_used_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(BackboneError, match=message):
        Backbone.from_module(Odd(), **values)  # type: ignore[arg-type]


def test_a_network_for_other_inputs_is_refused() -> None:
    with pytest.raises(BackboneError, match=r"takes pixels 2×3×32×32.*RuntimeError"):
        Backbone.from_module(nn.Conv2d(1, 4, 3), preprocess={"size": 32})
