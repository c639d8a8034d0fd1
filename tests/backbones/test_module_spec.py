"""A user's module as a backbone: what is measured, what may be said instead, and what is refused."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
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


class Query(nn.Module):
    """Reads images with a learnt query: a parameter is the input of its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.query = nn.Conv2d(3, 8, 4, 4), nn.Parameter(torch.randn(1, 5, 8))
        self.ask, self.look = nn.Linear(8, 8), nn.MultiheadAttention(8, 2, batch_first=True)
        self.fc = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        seen = self.conv(x).flatten(2).mT
        return self.fc(self.look(self.ask(self.query).expand(len(x), -1, -1), seen, seen)[0].mean(1))


def convolution_with(wrap: Callable[[nn.Module], nn.Module]) -> nn.Module:
    return nn.Sequential(wrap(nn.Conv2d(3, 8, 3)), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))


@pytest.mark.parametrize(
    "network",
    [Query(), convolution_with(parametrizations.weight_norm), convolution_with(parametrizations.spectral_norm)],
    ids=["query", "weight-norm", "spectral-norm"],
)
def test_a_network_whose_modules_are_given_parameters_is_taken(network: nn.Module) -> None:
    backbone = Backbone.from_module(network, preprocess={"size": 32})
    pixels = torch.randn(3, 3, 32, 32)

    with torch.inference_mode():
        scores = network[-1](backbone.features(pixels)) if isinstance(network, nn.Sequential) else None
        expected = network.eval()(pixels)

    assert backbone.features(pixels).shape == (3, 8)
    assert backbone.spec.gmac > 0
    assert scores is None or torch.allclose(scores, expected, atol=1e-5)


class InWindows(Odd):
    """A quarter of an image is a row of its convolution, as in hierarchical transformers."""

    def forward(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        windows = x.reshape(n, 3, 2, h // 2, 2, w // 2).permute(0, 2, 4, 1, 3, 5).reshape(4 * n, 3, h // 2, w // 2)
        return self.fc(self.norm(self.conv(windows)).mean((2, 3)).reshape(n, 4, -1).mean(1))


class OneByOne(Odd):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([super(OneByOne, self).forward(image[None]) for image in x])


class ForTwo(Odd):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.reshape(2, 3, 32, 32))


def test_a_stage_has_a_row_for_each_image() -> None:
    network, pixels = InWindows(), torch.randn(3, 3, 32, 32)
    backbone = Backbone.from_module(network, preprocess={"size": 32})

    assert backbone.stages == ("final",)
    with torch.inference_mode():
        assert torch.allclose(network.fc(backbone.features(pixels)), network(pixels), atol=1e-6)
    with pytest.raises(BackboneError, match="one row for each image, found norm, which gives 8 for 2 images"):
        Backbone.from_module(network, preprocess={"size": 32}, stages={"a": "norm"})


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (OneByOne(), r"vectors, tokens or maps, one for each image, found none"),
        (ForTwo(), r"any number of images, each on its own, found RuntimeError.*for one image"),
        (nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(3)), r"found that of a lazy layer.*0\.weight"),
        (Odd().to("meta"), r"found one on the device meta, without numbers: conv\.weight"),
    ],
    ids=["one-by-one", "for-two", "lazy", "meta"],
)
def test_networks_that_give_no_features_are_refused_in_our_words(network: nn.Module, message: str) -> None:
    with pytest.raises(BackboneError, match=message):
        Backbone.from_module(network, preprocess={"size": 32})


def test_packed_weights_are_refused() -> None:
    class Packed(Odd):
        def get_extra_state(self) -> tuple[int, ...]:  # as the packed weights of quantised layers
            return (1, 2)

        def set_extra_state(self, state: object) -> None:
            pass

    with pytest.raises(BackboneError, match=r"found packed or quantised weights: _extra_state"):
        Backbone.from_module(Packed(), preprocess={"size": 32})


@pytest.mark.slow
def test_of_a_compiled_network_the_network_inside_is_taken() -> None:
    network = Odd()

    backbone = Backbone.from_module(torch.compile(network), preprocess={"size": 32})

    assert backbone.network is network
    assert backbone.features(torch.randn(2, 3, 32, 32)).shape == (2, sum(backbone.widths))


class Twice(Odd):
    """Runs one pooling layer on maps of three and of four channels, as DLA does."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        pooled = (self.pool(self.pool(x)), self.pool(x))
        return self.fc(self.norm(self.conv(x)).mean((2, 3)) + sum(one.mean((1, 2, 3))[:, None] for one in pooled))


class TwoWidths(Odd):
    def __init__(self) -> None:
        super().__init__()
        self.pool, self.end = nn.MaxPool2d(2), nn.Conv2d(4, 6, 3)
        self.fc = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.end(self.pool(self.conv(self.pool(x)))).mean((2, 3)))


@pytest.mark.parametrize("network", [Twice(), TwoWidths()])
def test_of_a_module_that_runs_twice_the_last_run_is_measured(network: nn.Module) -> None:
    backbone = Backbone.from_module(network, preprocess={"size": 32})

    features = backbone.features(torch.randn(3, 3, 32, 32))

    assert features.shape == (3, sum(backbone.widths))


def test_layers_in_a_dictionary_are_found_as_those_in_a_list() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            body = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
            self.parts = nn.ModuleDict({"body": body, "head": nn.Linear(8, 5)})

        def forward(self, pixels: Tensor) -> Tensor:
            return self.parts["head"](self.parts["body"](pixels))

    spec = Backbone.from_module(Named(), preprocess={"size": 32}).spec
    assert [(stage.name, stage.module, stage.width) for stage in spec.stages] == [("final", "parts.head", 8)]
    assert spec.head == ("parts.head",)


class Unsteady(Odd):
    """Features that are random, or centred over the batch."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.body, self.fc, self.kind = nn.Conv2d(3, 8, 3), nn.Linear(8, 5), kind

    def forward(self, pixels: Tensor) -> Tensor:
        features = self.body(pixels).relu().mean((2, 3))
        if self.kind == "random":
            features = features + torch.rand_like(features)
        if self.kind == "centred":
            features = features - features.mean(0)
        return self.fc(features)


@pytest.mark.parametrize(
    ("kind", "message"),
    [("random", "other features for the same image each time"), ("centred", "change with the other images of a batch")],
)
def test_features_that_are_not_those_of_the_image_alone_are_refused(kind: str, message: str) -> None:
    with pytest.raises(BackboneError, match=message):
        Backbone.from_module(Unsteady(kind), preprocess={"size": 32})
    Backbone.from_module(Unsteady("steady"), preprocess={"size": 32})


def test_torchscript_and_weights_of_inference_mode_are_called_what_they_are() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 30 * 30, 5)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls it deprecated
        traced = torch.jit.trace(network, torch.zeros(1, 3, 32, 32))
    with pytest.raises(BackboneError, match=r"found TorchScript.*before torch\.jit"):
        Backbone.from_module(traced, preprocess={"size": 32})
    with torch.inference_mode():
        made = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 30 * 30, 5))
    with pytest.raises(BackboneError, match=r"made under torch.inference_mode.*: 0\.weight"):
        Backbone.from_module(made, preprocess={"size": 32})


class Attentive(nn.Module):
    """Maps, weights over places (one channel), and tokens in heads (another number of rows than columns)."""

    def __init__(self) -> None:
        super().__init__()
        self.maps, self.places, self.heads = nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Conv2d(8, 1, 1), nn.Identity()
        self.deeper, self.fc = nn.Conv2d(8, 12, 3, stride=2, padding=1), nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maps(x)
        x = x * self.places(x).sigmoid()
        heads = self.heads(x.flatten(2).transpose(1, 2).unflatten(2, (4, 2)).transpose(1, 2))  # N×4×256×2
        x = self.deeper(x + heads.mean((1, 2, 3), keepdim=True).relu())
        return self.fc(x.mean((2, 3)))  # type: ignore[no-any-return]


def test_weights_over_places_and_heads_of_attention_are_no_stages() -> None:
    backbone = Backbone.from_module(Attentive(), preprocess={"size": 32})

    assert stages_of(backbone) == [("maps", 8, "map", "output"), ("fc", 12, "vector", "input")]
