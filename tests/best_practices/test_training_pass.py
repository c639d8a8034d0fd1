"""The training pass against gradients and sizes that are computed by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from flawed_networks import noise, small
from headstart.best_practices.training_pass import gradients_of, run_training_pass
from headstart.inspection.graph import PIXELS


class Cut(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.idle = nn.Linear(4, 4), nn.Linear(4, 2), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(torch.sigmoid(self.one(x)).detach())


def test_parameters_that_autograd_reaches():
    assert run_training_pass(Cut(), noise(3, 4)).reached == {"two.weight", "two.bias"}


def test_sizes_and_spread_are_those_of_the_tensors():
    network, pixels = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2)), noise(3, 4)
    found = run_training_pass(network, pixels)
    hidden, output = network[0](pixels).detach(), network(pixels).detach()
    assert found.sizes == pytest.approx(
        {0: float(hidden.square().mean().sqrt()), 1: float(output.square().mean().sqrt())}
    )
    assert found.last_spread == pytest.approx(float(hidden.std(0).square().mean().sqrt()))
    torch.testing.assert_close(found.outputs[0], output)


def test_the_gradient_at_the_input_is_that_of_the_chain_rule():
    network, pixels = nn.Sequential(nn.Linear(4, 2)), noise(3, 4)
    found = run_training_pass(network, pixels)
    direction = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    expected = (direction @ network[0].weight).square().mean().sqrt()
    assert found.at_operations[PIXELS] == pytest.approx(float(expected.detach()))
    torch.testing.assert_close(gradients_of(network, pixels, ["0.weight"])["0.weight"], direction.t() @ pixels)


def test_saturation_is_the_share_near_a_limit():
    class Limits(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.tanh(x)

    found = run_training_pass(Limits(), torch.tensor([[0.0, 9.0, -9.0, 0.5]]))
    assert found.saturated == {0: 0.5}
    assert math.isnan(found.last_spread)


def test_an_in_place_error_is_told_and_nothing_is_left():
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            x = torch.sigmoid(self.fc(x))
            x += 1
            return x

    network = Broken().eval()
    found = run_training_pass(network, noise(2, 4))
    assert "inplace operation" in found.failure
    assert network.fc.weight.grad is None
    assert not network.training


def test_statistics_and_random_numbers_are_put_back():
    network, chance = small(), torch.get_rng_state()
    before = network[1].running_mean.clone()
    run_training_pass(network, noise(2, 3, 8, 8))
    assert torch.equal(network[1].running_mean, before)
    assert int(network[1].num_batches_tracked) == 0
    assert torch.equal(torch.get_rng_state(), chance)
