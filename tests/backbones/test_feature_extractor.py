"""FeatureExtractor: what it computes, what it leaves alone, and that others can export it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from headstart.backbones.backbone import build_backbone
from headstart.backbones.catalogue import SPECS, Stage
from headstart.backbones.feature_extractor import FeatureExtractor
from headstart.errors import BackboneError
from headstart.hooks import capture

EXPORTED = (pytest.param("resnet18", marks=pytest.mark.slow), "squeezenet1_1", "random")


def _pixels(count: int = 2, size: int = 64) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.slow
def test_each_stage_is_the_mean_of_its_module_over_the_map() -> None:
    backbone, pixels = build_backbone(SPECS["resnet18"]), _pixels()

    features = backbone.features(pixels)

    modules = {name: getattr(backbone.network, name) for name in ("maxpool", "layer1", "layer2", "layer3", "layer4")}
    with torch.inference_mode(), capture(modules) as outputs:
        backbone.network(pixels)
    expected = torch.cat([output.mean((2, 3)) for output in outputs.values()], 1)
    assert torch.equal(features, expected)


def test_a_stage_before_an_in_place_layer_keeps_its_own_values() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True))
    pixels = _pixels()

    features = FeatureExtractor(network, [Stage("a", "0", 4), Stage("b", "1", 4)])(pixels)

    before = network[0](pixels)
    assert torch.allclose(features[:, :4], before.mean((2, 3)))
    assert torch.allclose(features[:, 4:], before.clamp_min(0).mean((2, 3)))


def test_every_kind_of_pooling_does_what_it_says() -> None:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(2, 5, 6, 7, generator=generator)
    tokens = torch.randn(2, 5, 6, generator=generator)

    def pooled(value: Tensor, pool: str, side: str = "output") -> Tensor:
        return FeatureExtractor(nn.Sequential(nn.Identity()), [Stage("a", "0", 1, pool, side)])(value)

    # a mean of means differs from a mean in the last bits: atol, for a mean that happens to lie near zero
    assert torch.allclose(pooled(x, "map"), x.mean(3).mean(2), atol=1e-6)
    assert torch.allclose(pooled(x, "map-last"), x.mean(2).mean(1), atol=1e-6)
    assert torch.equal(pooled(tokens, "tokens-class"), tokens[:, 0])
    assert torch.allclose(pooled(tokens, "tokens-mean"), tokens.sum(1) / 5, atol=1e-6)
    assert torch.equal(pooled(x, "vector"), x.reshape(2, -1))
    assert torch.equal(pooled(tokens, "tokens-class", "input"), tokens[:, 0])


@pytest.mark.slow
def test_early_stages_do_not_pay_for_late_layers() -> None:
    backbone = build_backbone(SPECS["resnet18"])

    body = backbone.feature_extractor(["stem"]).body

    assert sum(isinstance(module, nn.Conv2d) for module in body.modules()) == 1
    assert not any(isinstance(module, nn.Linear) for module in backbone.feature_extractor().body.modules())


def test_weights_are_shared_not_copied() -> None:
    backbone, pixels = build_backbone(SPECS["cifar_resnet20"]), _pixels(size=32)
    network = backbone.feature_extractor()
    before = network(pixels)

    backbone.network.conv1.weight.mul_(2.0)  # type: ignore[union-attr, operator]

    assert not torch.equal(network(pixels), before)


@pytest.mark.slow
def test_features_do_not_depend_on_the_batch() -> None:
    backbone, pixels = build_backbone(SPECS["resnet18"]), _pixels(3)

    together = backbone.features(pixels)

    alone = torch.cat([backbone.features(pixels[i : i + 1]) for i in range(3)])
    assert torch.allclose(together, alone, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")  # on its way out, but what freezing still needs
@pytest.mark.parametrize("name", EXPORTED)
def test_the_graph_can_be_traced_by_jit(name: str) -> None:
    network = build_backbone(SPECS[name]).feature_extractor()

    traced = torch.jit.trace(network, _pixels(2))

    other = _pixels(5) + 1
    assert torch.allclose(traced(other), network(other), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", EXPORTED)
@pytest.mark.slow
def test_the_graph_can_be_exported_with_any_batch_size(name: str) -> None:
    network = build_backbone(SPECS[name]).feature_extractor()

    batch = torch.export.Dim("batch", min=1, max=1024)
    exported = torch.export.export(network, (_pixels(2),), dynamic_shapes={"pixels": {0: batch}})

    other = _pixels(5) + 1
    assert torch.allclose(exported.module()(other), network(other), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch's exporter about itself
@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_0"])
def test_the_graph_can_be_exported_to_onnx(name: str) -> None:
    runtime = pytest.importorskip("onnxruntime")
    network = build_backbone(SPECS[name]).feature_extractor()

    program = torch.onnx.export(network, (_pixels(2),), dynamo=True, dynamic_shapes={"pixels": {0: "batch"}})

    session = runtime.InferenceSession(program.model_proto.SerializeToString())
    other = _pixels(5) + 1
    (features,) = session.run(None, {session.get_inputs()[0].name: other.numpy()})
    assert torch.allclose(torch.from_numpy(features), network(other), rtol=1e-4, atol=1e-4)


def test_a_stage_that_is_never_run_is_named() -> None:
    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Identity(), nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x)

    with pytest.raises(BackboneError, match="no output for b"):
        FeatureExtractor(Unused(), [Stage("a", "used", 3), Stage("b", "idle", 3)])


def test_a_network_that_cannot_be_traced_says_so() -> None:
    class Choosy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(BackboneError, match="graph can be traced"):
        FeatureExtractor(Choosy(), [Stage("a", "", 3)])
