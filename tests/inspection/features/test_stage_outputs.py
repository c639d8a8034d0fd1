"""Stage outputs: the stages of a backbone and the children of a module, pooled as a head takes them."""

from __future__ import annotations

import torch
from torch import nn

from headstart.backbones.backbone import load_backbone
from headstart.inspection.features.stage_outputs import is_map, pooled, stage_features, watch_stages
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import inspected_model


class Tuples(nn.Module):
    """Returns no tensor."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (x, x)


def test_features_of_a_backbone_are_those_it_computes_itself():
    backbone = load_backbone("embedded")
    images = InspectedImages.of(torch.rand(3, 3, 64, 64))
    inspected = inspected_model(backbone)
    with inspected.eval_mode():
        found = stage_features(inspected, images)
    expected = backbone.features(images.pixels)
    assert tuple(found) == backbone.stages
    for stage, features in found.items():
        torch.testing.assert_close(features, expected[:, backbone.slices[stage]], rtol=1e-4, atol=1e-5)


def test_children_of_a_module_are_pooled_by_their_dimensions():
    inspected = inspected_model(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()))
    maps, tokens, vectors = torch.rand(2, 4, 3, 3), torch.rand(2, 7, 4), torch.rand(2, 5)
    torch.testing.assert_close(pooled(inspected, "0", maps), maps.mean((2, 3)))
    torch.testing.assert_close(pooled(inspected, "0", tokens), tokens.mean(1))
    torch.testing.assert_close(pooled(inspected, "1", vectors), vectors)
    assert is_map(inspected, "0", maps)
    assert not is_map(inspected, "0", maps[:, :, :1, :1])
    assert not is_map(inspected, "0", tokens)


def test_outputs_are_seen_before_an_in_place_layer_overwrites_them_and_other_outputs_are_skipped():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), Tuples())
    seen: dict[str, torch.Tensor] = {}
    pixels = torch.randn(1, 3, 4, 4)
    with (
        watch_stages(inspected_model(network), lambda name, value: seen.update({name: value.clone()})),
        torch.no_grad(),
    ):
        network(pixels)
    assert list(seen) == ["0", "1"]
    torch.testing.assert_close(seen["0"], network[0](pixels))
    assert (seen["0"] < 0).any()
