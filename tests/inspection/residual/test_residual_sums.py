"""Residual sums: found in many kinds of networks, and replaced while the network runs once more."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from headstart.backbones.backbone import load_backbone
from headstart.backbones.models.cifar_resnet import cifar_resnet20
from headstart.inspection.graph import PIXELS, record_graph
from headstart.inspection.residual.residual_sums import ResidualSum, find_residual_sums, joining


def from_timm(name: str, **options: Any) -> nn.Module:
    """A network of timm; without that package the test is skipped."""
    network: nn.Module = pytest.importorskip("timm").create_model(name, **options)
    return network


def sums_of(network: nn.Module, side: int = 64) -> tuple[ResidualSum, ...]:
    pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    return find_residual_sums(record_graph(network.eval(), pixels, on_meta=False), network)


@pytest.mark.parametrize(
    ("build", "expected", "first", "last"),
    [
        (torchvision.models.resnet18, 8, "layer1.0", "layer4.1"),
        pytest.param(torchvision.models.resnet50, 16, "layer1.0", "layer4.2", marks=pytest.mark.slow),
        (torchvision.models.mobilenet_v2, 10, "features.3", "features.16"),
        (torchvision.models.mobilenet_v3_small, 6, "features.3", "features.11"),
        pytest.param(torchvision.models.convnext_tiny, 18, "features.1.0", "features.7.2", marks=pytest.mark.slow),
        pytest.param(
            lambda: from_timm("resnetv2_50"), 16, "stages.0.blocks.0", "stages.3.blocks.2", marks=pytest.mark.slow
        ),
        pytest.param(
            lambda: from_timm("nf_resnet26"), 8, "stages.0.0", "stages.3.1", marks=pytest.mark.slow
        ),  # standardises its weights first
        (lambda: from_timm("convnext_atto"), 12, "stages.0.blocks.0", "stages.3.blocks.1"),
        (lambda: from_timm("vit_tiny_patch16_224", img_size=64), 24, "blocks.0 #1", "blocks.11 #2"),
        (cifar_resnet20, 9, "layer1.0", "layer3.2"),
        (lambda: load_backbone("random").network, 4, "stage1", "stage4"),
        (torchvision.models.squeezenet1_0, 0, "", ""),
        (torchvision.models.densenet121, 0, "", ""),
        pytest.param(torchvision.models.vgg11, 0, "", "", marks=pytest.mark.slow),
    ],
)
def test_the_blocks_of_many_kinds_of_networks_are_found(build, expected, first, last):
    names = [one.name for one in sums_of(build())]
    assert len(names) == expected == len(set(names))
    assert (names[:1], names[-1:]) == (([first], [last]) if expected else ([], []))


@pytest.mark.slow
@pytest.mark.parametrize("on_meta", [True, False])
def test_a_graph_of_shapes_alone_has_the_same_sums(on_meta):
    network = torchvision.models.resnet18(weights=None).eval()
    found = find_residual_sums(record_graph(network, torch.zeros(2, 3, 64, 64), on_meta=on_meta), network)
    assert [one.is_identity for one in found] == [True, True, False, True, False, True, False, True]
    assert all(one.carries_gradient for one in found)


class Block(nn.Module):
    """A shortcut and a branch, added in one of several ways."""

    def __init__(self, add) -> None:
        super().__init__()
        self.conv, self.add = nn.Conv2d(3, 3, 1), add

    def forward(self, x: Tensor) -> Tensor:
        return self.add(x, self.conv(x))


def added_in_place(x: Tensor, branch: Tensor) -> Tensor:
    branch += x
    return branch


@pytest.mark.parametrize(
    ("add", "shortcut"),
    [(lambda x, y: x + y, 0), (lambda x, y: y + x, 1), (torch.add, 0), (added_in_place, 1)],
)
def test_the_shortcut_is_the_operand_without_layers_however_it_is_added(add, shortcut):
    (one,) = sums_of(Block(add), 4)
    assert (one.name, one.shortcut, one.source, one.is_identity) == ("(network)", shortcut, PIXELS, True)
    assert one.carries_gradient


@pytest.mark.parametrize(
    "add",
    [
        lambda x, y: torch.add(x, y, alpha=2),  # a factor would be lost where the sum is replaced
        lambda x, y: y + y,
        lambda x, y: torch.cat([x, y], 1),
        lambda x, y: x.mean((2, 3), keepdim=True) + y,
    ],
)
def test_what_is_no_plain_sum_of_a_branch_and_a_shortcut_is_none(add):
    assert sums_of(Block(add), 4) == ()


def test_a_detached_shortcut_carries_no_gradient():
    (one,) = sums_of(Block(lambda x, y: x.detach() + y), 4)
    assert not one.carries_gradient


def test_a_sum_within_one_chunk_has_the_whole_as_its_source():
    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.conv = nn.Conv2d(3, 4, 1), nn.Conv2d(2, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            one, other = self.stem(x).chunk(2, 1)
            return one + self.conv(other)

    network = Halves()
    graph = record_graph(network, torch.zeros(2, 3, 4, 4), on_meta=False)
    (found,) = find_residual_sums(graph, network)
    assert graph.operations[found.source].function == "conv2d"
    assert not found.is_identity


def test_a_module_can_name_the_operand_that_is_its_shortcut():
    class Twin(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.left(x) + self.right(x)

    network = nn.Sequential(Twin())
    assert sums_of(network, 4) == ()
    network[0].residual_shortcut = 1
    (one,) = sums_of(network, 4)
    assert (one.name, one.shortcut, one.is_identity) == ("0", 1, False)


def test_sums_are_computed_by_the_given_function_with_their_source():
    network = nn.Sequential(Block(lambda x, y: x + y), Block(added_in_place)).eval()
    pixels = torch.randn(3, 3, 4, 4)
    graph = record_graph(network, pixels[:2], on_meta=False)
    sums = find_residual_sums(graph, network)
    seen = []

    def join(shortcut: Tensor, branch: Tensor, source: Tensor | None) -> Tensor:
        seen.append((shortcut, source))
        return shortcut - branch

    with torch.no_grad(), joining(graph, sums, join, sources_from=pixels):
        output = network(pixels)
        first = pixels - network[0].conv(pixels)
        torch.testing.assert_close(output, first - network[1].conv(first))
    assert seen[0][1] is pixels
    assert seen[1][0] is seen[1][1]
