"""Measurements of residual blocks: lengths as computed block by block, gradients in closed form, blocks cut by hand."""

from __future__ import annotations

import copy

import pytest
import torch
import torchvision
from torch import Tensor, nn

from headstart.inspection.inspected_model import inspected_model
from headstart.inspection.residual.block_measurements import (
    ResidualNetwork,
    gradient_shares,
    logits_without,
    measure_norms,
)


class LinearBlock(nn.Module):
    """x + A x, so that every gradient is known."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.map = nn.Conv2d(width, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.map(x)


def linear_network() -> nn.Sequential:
    torch.manual_seed(2)
    return nn.Sequential(LinearBlock(3), LinearBlock(3), nn.Flatten(), nn.Linear(3, 2, bias=False)).eval()


def recorded(network: nn.Module, pixels: Tensor) -> ResidualNetwork:
    return ResidualNetwork.of(inspected_model(network), pixels[:2])


@pytest.mark.parametrize("count", [1, 5, 33])
def test_norms_are_those_of_every_image_and_the_logits_those_of_the_network(count):
    network, pixels = linear_network(), torch.randn(count, 3, 1, 1)
    norms, logits = measure_norms(recorded(network, torch.randn(2, 3, 1, 1)), pixels)
    with torch.no_grad():
        branch, total = network[0].map(pixels).flatten(1), network[0](pixels).flatten(1)
        torch.testing.assert_close(logits, network(pixels))
    flat = pixels.flatten(1)
    assert norms.branch.shape == (count, 2)
    torch.testing.assert_close(norms.branch[:, 0], branch.norm(dim=1).double(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(norms.shortcut[:, 0], flat.norm(dim=1).double(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(norms.total[:, 0], total.norm(dim=1).double(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(norms.dot[:, 0], (branch * flat).sum(1).double(), rtol=1e-5, atol=1e-5)


def test_gradients_through_branch_and_shortcut_are_those_of_linear_blocks():
    network, pixels = linear_network(), torch.randn(10, 3, 1, 1)  # more than a batch of gradients
    labels = torch.tensor([0, 1, 1, 0, 0, 1, 0, 1, 1, 1])
    shares = gradient_shares(recorded(network, pixels), pixels, labels)
    first, second = (network[i].map.weight.detach()[:, :, 0, 0] for i in (0, 1))
    arriving = network[3].weight.detach()[labels]  # n×3: the gradient of each image's score after the second block
    for share, weight, gradient in ((shares[1], second, arriving), (shares[0], first, arriving + arriving @ second)):
        branch, shortcut = (gradient @ weight).norm(dim=1).sum(), gradient.norm(dim=1).sum()
        assert share == pytest.approx(float(branch / (branch + shortcut)), rel=1e-5)


@pytest.mark.slow
def test_logits_without_a_block_are_those_of_the_network_whose_branch_was_cut_by_hand():
    torch.manual_seed(3)
    network = torchvision.models.resnet18(num_classes=5).eval()  # adds in place, and has ReLUs in place
    pixels = torch.randn(33, 3, 32, 32)  # one more than a batch
    blocks = recorded(network, pixels)
    for index, stage in ((1, "layer1"), (7, "layer4")):
        cut = copy.deepcopy(network)
        norm = getattr(cut, stage)[1].bn2
        nn.init.zeros_(norm.weight)
        nn.init.zeros_(norm.bias)
        with torch.no_grad():
            expected = cut(pixels)
        torch.testing.assert_close(logits_without(blocks, blocks.sums[index], pixels), expected, rtol=1e-4, atol=1e-4)


def test_a_network_that_writes_into_its_input_is_measured_too():
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = linear_network()

        def forward(self, x: Tensor) -> Tensor:
            x -= 0.5
            return self.body(x)

    network, pixels = Shifted(), torch.randn(4, 3, 1, 1)
    shares = gradient_shares(recorded(network, pixels.clone()), pixels, torch.zeros(4).long())
    assert len(shares) == 2
    assert all(0 < share < 1 for share in shares)
