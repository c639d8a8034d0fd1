"""Folding batch norm: the formula by hand, every catalogue row against itself, and where it must keep away."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, fx, nn

from backbones.networks import randomise_batch_norms, small_pixels
from headstart.backbones.backbone import build_backbone
from headstart.backbones.catalogue import SPECS, find_spec
from headstart.backbones.feature_extractor import FeatureExtractor
from headstart.backbones.spec import Stage
from headstart.engines.fold import fold

TOLERANCE = 2e-5
_SMALL = ("cifar_resnet20", "mobilenet_v2_035", "random", "squeezenet1_1")
_WITHOUT = ("alexnet", "convnext_tiny", "squeezenet1_0", "vit_b_16")
_LARGE = tuple(name for name in SPECS if name not in (*_SMALL, *_WITHOUT))


def _norms(body: nn.Module) -> list[str]:
    return [name for name, module in body.named_modules() if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d))]


@pytest.mark.parametrize("name", [*_SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in _LARGE)])
def test_every_row_gives_the_same_features_when_folded(name: str) -> None:
    backbone = build_backbone(SPECS[name])
    randomise_batch_norms(backbone.network)
    network, pixels = backbone.feature_extractor(), small_pixels(backbone)
    with torch.no_grad():
        expected, found = network(pixels), fold(network)(pixels)
    for part in backbone.slices.values():
        scale = expected[:, part].abs().max()
        assert scale > 0
        assert (expected[:, part] - found[:, part]).abs().max() <= TOLERANCE * scale


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in _SMALL if name != "squeezenet1_1"])
def test_no_batch_norm_is_left_and_the_network_keeps_its_own(name: str) -> None:
    backbone = build_backbone(SPECS[name])
    randomise_batch_norms(backbone.network)
    before, fingerprint = len(_norms(backbone.network)), backbone.fingerprint
    network = backbone.feature_extractor()
    assert _norms(network.body)
    assert not _norms(fold(network))
    assert _norms(network.body)
    assert len(_norms(backbone.network)) == before
    assert backbone.fingerprint == fingerprint


def test_folding_follows_the_formula_by_hand() -> None:
    conv, norm = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, eps=0.0)
    with torch.no_grad():
        conv.weight.fill_(3.0)
        conv.bias.fill_(1.0)  # type: ignore[union-attr]
        norm.running_mean.fill_(2.0)  # type: ignore[union-attr]
        norm.running_var.fill_(4.0)  # type: ignore[union-attr]
        norm.weight.fill_(5.0)
        norm.bias.fill_(7.0)
    folded = fold(FeatureExtractor(nn.Sequential(conv, norm).eval(), [Stage("end", "1", 1)]))
    layer = folded.get_submodule("0")
    assert float(layer.weight) == 3 * 5 / 2  # type: ignore[arg-type]
    assert float(layer.bias) == 7 + (1 - 2) * 5 / 2  # type: ignore[arg-type]


def test_a_channel_with_hardly_any_variance_is_folded_as_exactly_as_float32_allows() -> None:
    conv, norm = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4, eps=1e-12)
    norm.running_var.fill_(1e-10)  # type: ignore[union-attr]
    norm.running_mean.normal_(generator=torch.Generator().manual_seed(0))  # type: ignore[union-attr]
    folded = fold(FeatureExtractor(nn.Sequential(conv, norm).eval(), [Stage("end", "1", 4)])).get_submodule("0")
    scale = 1 / (1e-10 + 1e-12) ** 0.5
    exact = conv.weight.double() * (norm.running_var.double()[0] + 1e-12).rsqrt()  # type: ignore[union-attr]
    assert torch.equal(folded.weight, exact.float())  # type: ignore[arg-type]
    assert float(folded.weight.abs().max()) > 0.01 * scale  # type: ignore[union-attr,operator,arg-type]


class _Branches(nn.Module):
    """conv → norm, beside another reader of the convolution, or a second run of it."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.conv, self.norm, self.end = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        made = self.conv(x)
        out: Tensor = self.norm(made)
        if self.kind == "read twice":
            out = out + made
        if self.kind == "run twice":
            out = out + self.conv(x + 1)
        end: Tensor = self.end(out)
        return end


@pytest.mark.parametrize("kind", ["read twice", "run twice", "taken"])
def test_a_convolution_that_others_need_too_keeps_its_batch_norm(kind: str) -> None:
    torch.manual_seed(0)
    network = _Branches(kind)
    randomise_batch_norms(network)
    stages = [Stage("conv", "conv", 3)] if kind == "taken" else []
    staged = FeatureExtractor(network, [*stages, Stage("end", "end", 3)])
    folded, pixels = fold(staged), torch.randn(2, 3, 4, 4)
    assert _norms(folded)
    torch.testing.assert_close(folded(pixels), staged(pixels))


def test_a_stage_that_is_the_batch_norm_itself_is_folded() -> None:
    torch.manual_seed(0)
    network = _Branches("plain")
    randomise_batch_norms(network)
    staged, pixels = FeatureExtractor(network.eval(), [Stage("norm", "norm", 3)]), torch.randn(2, 3, 4, 4)
    folded = fold(staged)
    assert not _norms(folded)
    torch.testing.assert_close(folded(pixels), staged(pixels))


def test_a_batch_norm_before_its_convolution_stays_for_the_zero_border_forbids_it() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 3, 3, padding=1))
    randomise_batch_norms(network)
    staged, pixels = FeatureExtractor(network.eval(), [Stage("end", "1", 3)]), torch.randn(2, 3, 5, 5)
    folded = fold(staged)
    assert _norms(folded)
    torch.testing.assert_close(folded(pixels), staged(pixels))


def test_a_linear_layer_takes_in_the_batch_norm_behind_it() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.BatchNorm1d(5, affine=False))
    randomise_batch_norms(network)
    staged, pixels = FeatureExtractor(network.eval(), [Stage("end", "2", 5, "vector")]), torch.randn(4, 3, 2, 2)
    folded = fold(staged)
    assert not _norms(folded)
    torch.testing.assert_close(folded(pixels), staged(pixels))


def test_batch_norm_called_as_a_function_is_folded_too() -> None:
    torch.manual_seed(0)
    staged = FeatureExtractor(_Functional(), [Stage("end", "end", 4)])
    folded, pixels = fold(staged), torch.randn(2, 3, 4, 4)
    assert not [node for node in folded.graph.nodes if node.target is nn.functional.batch_norm]
    torch.testing.assert_close(folded(pixels), staged(pixels))


def test_timm_s_batch_norm_with_an_activation_is_folded_and_keeps_its_activation() -> None:
    layers = pytest.importorskip("timm.layers")
    torch.manual_seed(0)
    norm = layers.BatchNormAct2d(4, act_layer=nn.ReLU6)
    network = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), norm, layers.Conv2dSame(4, 4, 3, 2), nn.BatchNorm2d(4))
    randomise_batch_norms(network)
    staged = FeatureExtractor(network.eval(), [Stage("act", "1", 4), Stage("end", "3", 4)])
    pixels = 9 * torch.randn(2, 3, 7, 7)
    folded = fold(staged)
    assert not _norms(folded)
    assert network[:2](pixels).amax().item() == 6.0  # the activation does something
    torch.testing.assert_close(folded(pixels), staged(pixels))
    assert network[1] is norm


# names whose statistics of two tiny channels amplify rounding are left out; what is left alone is not in a plain chain
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "left"),
    [
        *[(name, 0) for name in ("cs3darknet_s", "darknet53", "dla34", "ecaresnet26t", "efficientnet_es")],
        *[(name, 0) for name in ("ese_vovnet19b_dw", "fbnetc_100", "gernet_s", "hardcorenas_a", "lcnet_035")],
        *[(name, 0) for name in ("legacy_seresnet18", "mnasnet_050", "mobilenetv2_035", "mobilenetv4_conv_small")],
        *[(name, 0) for name in ("regnetx_002", "regnety_002", "resnest14d", "rexnet_100", "semnasnet_050")],
        *[(name, 0) for name in ("seresnet18", "skresnet18", "spnasnet_100", "tinynet_e", "xception41")],
        ("tf_mobilenetv3_small_minimal_100", 0),
        ("densenet121", 62),  # most of its norms come before their convolution
        ("ghostnet_050", 1),
        ("mixnet_s", 34),  # its convolutions are joined first
        ("mobileone_s0", 35),
        ("repvgg_a0", 17),
        ("resnetv2_50", 17),
    ],
)
def test_networks_of_timm_give_the_same_features_when_folded(name: str, left: int) -> None:
    pytest.importorskip("timm")
    backbone = build_backbone(find_spec(f"timm:{name}"))
    randomise_batch_norms(backbone.network)
    network, pixels = backbone.feature_extractor(), small_pixels(backbone)
    with torch.no_grad():
        folded = fold(network)
        expected, found = network(pixels), folded(pixels)
    for part in backbone.slices.values():
        assert (expected[:, part] - found[:, part]).abs().max() <= 1e-5 * expected[:, part].abs().max()
    assert len(_norms(folded)) == left


class _Centred(nn.Conv2d):
    """A convolution that changes its weights in each call, as those with standardised weights do."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return nn.functional.conv2d(x, weight, self.bias)


class _Doubled(nn.BatchNorm2d):
    """A batch norm that does more than normalise, and that the tracer keeps whole as it keeps torch's own."""

    __module__ = "torch.nn.modules"

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


@pytest.mark.parametrize(
    "layers", [(_Centred(3, 4, 1), nn.BatchNorm2d(4)), (nn.Conv2d(3, 4, 1), _Doubled(4))], ids=["convolution", "norm"]
)
def test_kinds_that_do_more_than_their_base_keep_their_batch_norm(layers: tuple[nn.Module, nn.Module]) -> None:
    network = nn.Sequential(*layers).eval()
    randomise_batch_norms(network)
    staged, pixels = FeatureExtractor(network, [Stage("end", "1", 4)]), torch.randn(2, 3, 4, 4)
    folded = fold(staged)
    torch.testing.assert_close(folded(pixels), staged(pixels))


class _Functional(nn.Module):
    """A batch norm called as a function, as in some of timm's modules."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.end = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU()
        randomise_batch_norms(self)

    def forward(self, x: Tensor) -> Tensor:
        norm = self.norm
        made = nn.functional.batch_norm(
            self.conv(x), norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.1, norm.eps
        )
        out: Tensor = self.end(made)
        return out


def test_the_result_is_a_plain_graph() -> None:
    assert isinstance(fold(build_backbone(SPECS["cifar_resnet20"]).feature_extractor()), fx.GraphModule)
