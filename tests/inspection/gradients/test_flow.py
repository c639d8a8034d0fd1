"""Gradient flow: numbers by hand, problems are named, and what the loop captures can be passed in."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from headstart.errors import DataError
from headstart.inspection.gradients.flow import gradient_flow
from headstart.training.stepbystep import StepByStep


def test_norms_zeros_and_ratios_are_those_of_the_arrays():
    gradients = {"a": {"weight": [[[3.0, 0.0]], [[0.0, 0.0]]], "bias": [[4.0], [1.0]]}}
    parameters = {"a": {"weight": [[[1.0, 1.0]], [[1.0, 1.0]], [[1.0, 2.0]]], "bias": [[1.0], [0.0], [0.0]]}}
    flow = gradient_flow(gradients, parameters)
    (layer,) = flow.layers
    assert layer.norms == (5.0, 1.0)
    assert layer.rms == pytest.approx((5 / math.sqrt(3), 1 / math.sqrt(3)))
    assert layer.zeros == pytest.approx((1 / 3, 2 / 3))
    assert layer.ratios == pytest.approx((1 / math.sqrt(3), 1 / math.sqrt(2)))


def train(network: nn.Module, rate: float, steps: int = 12) -> StepByStep:
    torch.manual_seed(0)
    x, y = torch.randn(48, 8), torch.randint(0, 2, (48,))
    optimizer = torch.optim.SGD(network.parameters(), rate)
    sbs = StepByStep(network, nn.CrossEntropyLoss(), optimizer)
    sbs.set_loaders(DataLoader(TensorDataset(x, y), 4))
    layers = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    sbs.capture_gradients(layers)
    sbs.capture_parameters(layers)
    sbs.train(1)
    return sbs


def deep(act: type[nn.Module], depth: int, scale: float = 1.0) -> nn.Module:
    torch.manual_seed(1)
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(8, 8), act()]
    network = nn.Sequential(*layers, nn.Linear(8, 2))
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(scale)
    return network


def test_captures_of_the_loop_give_the_step_of_plain_descent():
    rate = 0.1
    sbs = train(deep(nn.ReLU, 1), rate)
    flow = gradient_flow(sbs._gradients, sbs._parameters)
    assert [layer.layer for layer in flow.layers] == ["0", "2"]
    first = flow.layers[0]
    assert (len(first.norms), len(first.ratios)) == (12, 11)
    for step, ratio in enumerate(first.ratios):  # update = rate × gradient
        size = math.sqrt(sum(np.square(values[step]).sum() for values in sbs._parameters["0"].values()))
        assert ratio == pytest.approx(rate * first.norms[step] / size, rel=1e-3)
    assert "Gradients reach the first layer" in flow.interpretation[0]


def test_gradients_that_vanish_in_sigmoids_are_named_and_relus_pass_them():
    sigmoids = train(deep(nn.Sigmoid, 8), 0.05)
    flow = gradient_flow(sigmoids._gradients, sigmoids._parameters)
    assert flow.interpretation[0].startswith("Gradients vanish towards the input (0 against 16")
    assert "0, 2" in flow.interpretation[1]
    assert "hardly learn" in flow.interpretation[1]
    assert not any(
        "vanish" in words for words in gradient_flow(train(deep(nn.ReLU, 2), 0.05)._gradients).interpretation
    )


def test_exploding_gradients_and_gradients_that_are_not_finite_are_named_with_their_step():
    calm = [np.ones(4)] * 9
    flow = gradient_flow({"a": {"w": [*calm, 500 * np.ones(4)]}, "b": {"w": [*calm, np.full(4, np.nan)]}})
    assert [layer.exploding_steps for layer in flow.layers] == [(9,), (9,)]
    assert [layer.is_finite for layer in flow.layers] == [True, False]
    assert "a at step 10, b at step 10" in flow.interpretation[0]
    json.dumps(flow.to_dict(), allow_nan=False)


def test_growing_gradients_long_steps_and_dead_layers_are_named():
    rng = np.random.default_rng(0)
    small, large = [rng.normal(size=50) * 1e-4] * 5, [rng.normal(size=50)] * 5
    assert "grow towards the input" in gradient_flow({"a": {"w": large}, "b": {"w": small}}).interpretation[0]
    walk = {"a": {"w": [np.full(3, 2.0**i) for i in range(5)]}}
    assert "Steps are too long in a" in " ".join(gradient_flow({"a": {"w": large}}, walk).interpretation)
    mostly = np.zeros(50)
    mostly[0] = 1.0
    assert "exactly zero in a (98.0\u00a0%)" in " ".join(gradient_flow({"a": {"w": [mostly] * 3}}).interpretation)


@pytest.mark.slow
def test_the_figure_works_with_and_without_parameters_and_no_gradients_are_refused():
    sbs = train(deep(nn.ReLU, 8), 0.1)
    flow = gradient_flow(sbs._gradients, sbs._parameters)
    titles = [axes.get_title(loc="left") for axes in flow.figure().axes]
    assert titles == ["Gradient norm", "Update / weight"]
    assert len(flow.figure().axes[0].lines) == 6
    alone = gradient_flow(sbs._gradients)
    assert len(alone.figure().axes) == 1
    assert "capture_parameters" in " ".join(alone.interpretation)
    assert "12 steps" in alone.description
    with pytest.raises(DataError, match="capture_gradients"):
        gradient_flow({})
