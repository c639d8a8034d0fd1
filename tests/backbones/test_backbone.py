"""Backbone: loading, refusing and describing weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from backbones.networks import randomise_batch_norms
from headstart.backbones.backbone import Backbone, Provenance, build_backbone, load_backbone
from headstart.backbones.catalogue import SPECS, find_spec
from headstart.errors import BackboneError

SPEC = SPECS["cifar_resnet20"]
MINE = Provenance("mine", "", "MIT")


def _state(seed: int = 5) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in build_backbone(SPEC, seed=seed).network.state_dict().items()}


def test_a_backbone_comes_in_eval_mode_without_gradients(tmp_path: Path) -> None:
    save_file(_state(), tmp_path / "a.safetensors")

    backbone = load_backbone(SPEC.name, weights=str(tmp_path / "a.safetensors"))

    assert not any(module.training for module in backbone.network.modules())
    assert not any(parameter.requires_grad for parameter in backbone.network.parameters())
    assert torch.equal(backbone.state()["conv1.weight"], _state()["conv1.weight"])
    assert backbone.weights.to_dict()["source"] == "a.safetensors"
    assert backbone.preprocess.crop == 32
    assert backbone.stages == ("stem", "stage1", "stage2", "stage3")


def test_the_network_of_a_stored_backbone_is_built_when_it_is_asked_for(tmp_path: Path) -> None:
    other, pixels = build_backbone(SPEC, seed=5), torch.randn(2, 3, 32, 32)
    stored = Backbone.stored(
        SPEC, {name: tensor.clone() for name, tensor in other.state().items()}, MINE, file=tmp_path
    )
    assert stored.fingerprint == other.fingerprint
    assert stored.widths == other.widths
    assert "network" not in vars(stored)

    with torch.inference_mode():
        features = stored.features(pixels)

    assert torch.equal(features, other.features(pixels))
    assert not stored.unbuilt
    assert stored.fingerprint == other.fingerprint
    assert sum(tensor._version for tensor in stored.tensors) == stored.loaded
    with torch.no_grad():
        stored.network.get_parameter("conv1.weight").mul_(2)
    assert sum(tensor._version for tensor in stored.tensors) == stored.loaded + 1
    assert not torch.equal(stored.copy().features(pixels), features)


def test_a_stored_network_that_does_not_fit_is_refused_with_its_file(tmp_path: Path) -> None:
    state = {name: tensor for name, tensor in build_backbone(SPEC).state().items() if name != "conv1.weight"}
    stored = Backbone.stored(SPEC, state, MINE, file=tmp_path / "a.safetensors")

    with pytest.raises(BackboneError, match=r"1 missing: conv1\.weight") as caught:
        stored.features(torch.zeros(1, 3, 32, 32))

    assert caught.value.where == str(tmp_path / "a.safetensors")
    assert caught.value.hint == "The file is damaged."


def test_its_own_head_gives_logits_when_the_weights_have_one() -> None:
    backbone, pixels = build_backbone(SPEC), torch.randn(2, 3, 32, 32)

    backbone.load_state(_state(), MINE)

    pooled = backbone.features(pixels)[:, backbone.slices["stage3"]]
    expected = pooled @ _state()["linear.weight"].T + _state()["linear.bias"]
    assert backbone.has_pretrained_head
    assert torch.allclose(backbone.pretrained_logits(pixels), expected, atol=1e-5)


@pytest.mark.parametrize("missing", [("linear.weight", "linear.bias"), ("linear.bias",)])
def test_only_a_missing_head_is_allowed_and_then_there_are_no_logits(missing: tuple[str, ...]) -> None:
    backbone = build_backbone(SPEC)

    backbone.load_state({name: tensor for name, tensor in _state().items() if name not in missing}, MINE)

    assert torch.equal(backbone.state()["conv1.weight"], _state()["conv1.weight"])
    with pytest.raises(BackboneError, match="its own classification head"):
        backbone.pretrained_logits(torch.zeros(1, 3, 32, 32))


def test_a_head_for_other_classes_counts_as_missing() -> None:
    state = _state() | {"linear.weight": torch.zeros(3, 64), "linear.bias": torch.zeros(3)}
    backbone = build_backbone(SPEC)

    backbone.load_state(state, MINE)

    assert not backbone.has_pretrained_head


def test_old_files_without_the_step_counter_are_complete() -> None:
    backbone = build_backbone(SPEC)

    backbone.load_state({name: tensor for name, tensor in _state().items() if "num_batches" not in name}, MINE)

    assert torch.equal(backbone.state()["bn1.weight"], _state()["bn1.weight"])


def test_missing_unexpected_and_misshapen_tensors_are_all_listed() -> None:
    state = _state()
    del state["layer1.0.conv1.weight"], state["bn1.running_mean"]
    state |= {"extra.weight": torch.zeros(1), "conv1.weight": torch.zeros(16, 1, 3, 3)}
    backbone = build_backbone(SPEC)
    before = backbone.fingerprint

    with pytest.raises(BackboneError) as caught:
        backbone.load_state(state)

    said = str(caught.value)
    assert "2 missing: bn1.running_mean, layer1.0.conv1.weight" in said
    assert "1 unexpected: extra.weight" in said
    assert "conv1.weight (16, 1, 3, 3) not (16, 3, 3, 3)" in said
    assert backbone.fingerprint == before


def test_of_many_wrong_tensors_the_first_eight_are_named() -> None:
    # 19 convolutions and 19 batch norms of four tensors each
    with pytest.raises(BackboneError, match=r"95 missing: ([\w.]+, ){8}… \("):
        build_backbone(SPEC).load_state({})


@pytest.mark.slow
def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_file(_state(), tmp_path / "cifar.safetensors")

    with pytest.raises(BackboneError, match="the tensors of resnet18"):
        load_backbone("resnet18", weights=str(tmp_path / "cifar.safetensors"))


@pytest.mark.slow
def test_images_of_another_size_keep_the_same_ratio_of_resize_and_crop() -> None:
    backbone, plain = build_backbone(find_spec("resnet18")), build_backbone(find_spec("resnet18")).preprocess
    backbone.set_image_size(160)
    assert (backbone.preprocess.resize, backbone.preprocess.crop) == (183, 160)  # 256 / 224 = 182.9 / 160
    assert replace(backbone.preprocess, resize=plain.resize, crop=plain.crop) == plain


@pytest.mark.slow
@pytest.mark.parametrize(("name", "side", "own"), [("embedded", 31, 104), ("alexnet", 32, 224), ("vit_b_16", 288, 224)])
def test_a_size_that_the_network_cannot_take_is_refused(name: str, side: int, own: int) -> None:
    backbone = build_backbone(find_spec(name))
    with pytest.raises(BackboneError, match=rf"{name} takes, found {side} px .*trained with {own} px"):
        backbone.set_image_size(side)
    assert backbone.preprocess.crop == own


@pytest.mark.slow
def test_the_random_backbone_is_drawn_from_its_seed_alone() -> None:
    torch.manual_seed(1)
    one = load_backbone("random", seed=3)
    noise = torch.rand(1)
    torch.manual_seed(2)
    same, other = load_backbone("random", seed=3), load_backbone("random", seed=4)

    assert one.fingerprint == same.fingerprint != other.fingerprint
    assert one.weights.source == "drawn from seed 3"
    torch.manual_seed(1)
    assert torch.equal(noise, torch.rand(1))  # the caller's random numbers went on as if nothing was built


def test_the_fingerprint_sees_buffers_but_not_the_head() -> None:
    backbone = build_backbone(SPEC)
    before = backbone.fingerprint

    backbone.network.linear.weight.add_(1.0)  # type: ignore[union-attr, operator]
    same = backbone.fingerprint
    backbone.network.bn1.running_mean.add_(1.0)  # type: ignore[union-attr, operator]

    assert same == before
    assert backbone.fingerprint != before


def test_stages_can_be_chosen_and_keep_their_values() -> None:
    backbone, pixels = build_backbone(SPEC), torch.randn(2, 3, 32, 32)

    chosen = backbone.feature_extractor(["stage2", "pooled"])(pixels)

    every = backbone.features(pixels)
    assert torch.equal(chosen, torch.cat([every[:, backbone.slices[name]] for name in ("stage2", "stage3")], 1))


class Small(nn.Module):
    """Batch norm, dropout as a module and as a function: three ways to answer otherwise in train mode."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, stride=2)
        self.norm = nn.BatchNorm2d(6)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(self.norm(self.conv(x)).relu())
        x = functional.dropout(x.mean((2, 3)), 0.5, self.training)
        return self.fc(x)


def small_backbone() -> Backbone:
    torch.manual_seed(0)
    network = Small()
    randomise_batch_norms(network)
    return Backbone.from_module(network, preprocess={"size": 32}, stages={"norm": "norm", "drop": "drop"})


def train(network: nn.Module) -> None:
    network.train()


def set_each_mode(network: nn.Module) -> None:
    for module in network.modules():
        module.training = True


def export_and_forget(network: nn.Module) -> None:
    """What an exporter does that leaves the training mode behind."""
    network.eval()(torch.zeros(2, 3, 32, 32))
    network.train(True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "make", [small_backbone, lambda: build_backbone(SPEC), lambda: build_backbone(SPECS["random"])]
)
@pytest.mark.parametrize("change", [train, set_each_mode, export_and_forget])
@pytest.mark.parametrize("when", ["before the first features", "after them"])
def test_train_mode_changes_no_feature_and_no_statistic(
    make: Callable[[], Backbone], change: Callable[[nn.Module], None], when: str
) -> None:
    expected, backbone, pixels = make(), make(), torch.randn(4, 3, 32, 32)
    if when == "after them":
        backbone.features(pixels)

    change(backbone.network)
    before = {name: tensor.clone() for name, tensor in backbone.network.state_dict().items()}

    assert torch.equal(backbone.features(pixels), expected.features(pixels))
    assert torch.equal(backbone.inference(pixels), expected.features(pixels))
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.network.state_dict().items())
    assert all(module.training for module in backbone.network.modules())  # the user's mode is left as it is


def test_train_mode_changes_no_pretrained_logit() -> None:
    backbone, pixels = small_backbone(), torch.randn(4, 3, 32, 32)
    expected = backbone.pretrained_logits(pixels)

    backbone.network.train()

    assert torch.equal(backbone.pretrained_logits(pixels), expected)


def test_features_follow_weights_that_are_changed_in_place_and_ones_that_are_replaced() -> None:
    backbone, pixels = small_backbone(), torch.randn(4, 3, 32, 32)
    first = backbone.features(pixels)

    with torch.no_grad():
        backbone.network.get_submodule("norm").get_parameter("weight").mul_(2)
    second = backbone.features(pixels)
    backbone.network.load_state_dict(small_backbone().network.state_dict(), assign=True)

    assert not torch.equal(first, second)
    assert torch.equal(backbone.features(pixels), first)


def test_a_copy_has_its_own_weights_and_the_same_features() -> None:
    backbone, pixels = small_backbone(), torch.randn(4, 3, 32, 32)
    backbone.set_image_size(48)

    twin = backbone.copy()

    assert torch.equal(twin.features(pixels), backbone.features(pixels))
    assert twin.preprocess == backbone.preprocess
    assert twin.has_pretrained_head
    with torch.no_grad():
        twin.network.get_submodule("conv").get_parameter("weight").zero_()
    assert twin.fingerprint != backbone.fingerprint == small_backbone().fingerprint


@pytest.mark.parametrize("name", ["stage3", "layer3", "pooled"])
def test_a_stage_is_named_by_its_name_or_by_the_path_of_its_module(name: str) -> None:
    backbone, pixels = build_backbone(SPEC), torch.randn(2, 3, 32, 32)

    assert backbone.spec.stage(name) == SPEC.stages[-1]
    assert backbone.spec.choose_stages(f"stem,{name}") == ("stem", "stage3")
    assert torch.equal(
        backbone.feature_extractor([name])(pixels), backbone.features(pixels)[:, backbone.slices["stage3"]]
    )
    assert backbone.child_of(name) == "layer3"
