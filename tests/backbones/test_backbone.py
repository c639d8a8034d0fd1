"""Backbone: loading, refusing and describing weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from headstart.backbones.backbone import Provenance, build_backbone, load_backbone
from headstart.backbones.catalogue import SPECS, find_spec
from headstart.errors import BackboneError

ROW = SPECS["cifar_resnet20"]
MINE = Provenance("mine", "", "MIT")


def _state(seed: int = 5) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in build_backbone(ROW, seed=seed).network.state_dict().items()}


def test_a_backbone_comes_in_eval_mode_without_gradients(tmp_path: Path) -> None:
    save_file(_state(), tmp_path / "a.safetensors")

    backbone = load_backbone(ROW.name, weights=str(tmp_path / "a.safetensors"))

    assert not any(module.training for module in backbone.network.modules())
    assert not any(parameter.requires_grad for parameter in backbone.network.parameters())
    assert torch.equal(backbone.state()["conv1.weight"], _state()["conv1.weight"])
    assert backbone.weights.to_dict()["source"] == "a.safetensors"
    assert backbone.preprocess.crop == 32
    assert backbone.stages == ("stem", "stage1", "stage2", "stage3")


def test_its_own_top_gives_logits_when_the_weights_have_one() -> None:
    backbone, pixels = build_backbone(ROW), torch.randn(2, 3, 32, 32)

    backbone.load_state(_state(), MINE)

    pooled = backbone.features(pixels)[:, backbone.slices["stage3"]]
    expected = pooled @ _state()["linear.weight"].T + _state()["linear.bias"]
    assert backbone.has_pretrained_head
    assert torch.allclose(backbone.pretrained_logits(pixels), expected, atol=1e-5)


@pytest.mark.parametrize("missing", [("linear.weight", "linear.bias"), ("linear.bias",)])
def test_only_a_missing_top_is_allowed_and_then_there_are_no_logits(missing: tuple[str, ...]) -> None:
    backbone = build_backbone(ROW)

    backbone.load_state({name: tensor for name, tensor in _state().items() if name not in missing}, MINE)

    assert torch.equal(backbone.state()["conv1.weight"], _state()["conv1.weight"])
    with pytest.raises(BackboneError, match="its own top"):
        backbone.pretrained_logits(torch.zeros(1, 3, 32, 32))


def test_a_top_for_other_classes_counts_as_missing() -> None:
    state = _state() | {"linear.weight": torch.zeros(3, 64), "linear.bias": torch.zeros(3)}
    backbone = build_backbone(ROW)

    backbone.load_state(state, MINE)

    assert not backbone.has_pretrained_head


def test_old_files_without_the_step_counter_are_complete() -> None:
    backbone = build_backbone(ROW)

    backbone.load_state({name: tensor for name, tensor in _state().items() if "num_batches" not in name}, MINE)

    assert torch.equal(backbone.state()["bn1.weight"], _state()["bn1.weight"])


def test_missing_unexpected_and_misshapen_tensors_are_all_listed() -> None:
    state = _state()
    del state["layer1.0.conv1.weight"], state["bn1.running_mean"]
    state |= {"extra.weight": torch.zeros(1), "conv1.weight": torch.zeros(16, 1, 3, 3)}
    backbone = build_backbone(ROW)
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
        build_backbone(ROW).load_state({})


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_file(_state(), tmp_path / "cifar.safetensors")

    with pytest.raises(BackboneError, match="the tensors of resnet18"):
        load_backbone("resnet18", weights=str(tmp_path / "cifar.safetensors"))


def test_images_of_another_size_are_taken_with_the_same_ratio_of_resize_and_crop() -> None:
    backbone, plain = build_backbone(find_spec("resnet18")), build_backbone(find_spec("resnet18")).preprocess
    backbone.take_size(160)
    assert (backbone.preprocess.resize, backbone.preprocess.crop) == (183, 160)  # 256 / 224 = 182.9 / 160
    assert replace(backbone.preprocess, resize=plain.resize, crop=plain.crop) == plain


@pytest.mark.parametrize(("name", "side", "own"), [("embedded", 31, 104), ("alexnet", 32, 224), ("vit_b_16", 288, 224)])
def test_a_size_that_the_network_cannot_take_is_refused(name: str, side: int, own: int) -> None:
    backbone = build_backbone(find_spec(name))
    with pytest.raises(BackboneError, match=rf"{name} takes, found {side} px .*trained with {own} px"):
        backbone.take_size(side)
    assert backbone.preprocess.crop == own


def test_the_random_row_is_drawn_from_its_seed_alone() -> None:
    torch.manual_seed(1)
    one = load_backbone("random", seed=3)
    noise = torch.rand(1)
    torch.manual_seed(2)
    same, other = load_backbone("random", seed=3), load_backbone("random", seed=4)

    assert one.fingerprint == same.fingerprint != other.fingerprint
    assert one.weights.source == "drawn from seed 3"
    torch.manual_seed(1)
    assert torch.equal(noise, torch.rand(1))  # the caller's random numbers went on as if nothing was built


def test_the_fingerprint_sees_buffers_but_not_the_top() -> None:
    backbone = build_backbone(ROW)
    before = backbone.fingerprint

    backbone.network.linear.weight.add_(1.0)  # type: ignore[union-attr, operator]
    same = backbone.fingerprint
    backbone.network.bn1.running_mean.add_(1.0)  # type: ignore[union-attr, operator]

    assert same == before
    assert backbone.fingerprint != before


def test_stages_can_be_chosen_and_keep_their_values() -> None:
    backbone, pixels = build_backbone(ROW), torch.randn(2, 3, 32, 32)

    chosen = backbone.feature_extractor(["stage2", "pooled"])(pixels)

    every = backbone.features(pixels)
    assert torch.equal(chosen, torch.cat([every[:, backbone.slices[name]] for name in ("stage2", "stage3")], 1))
