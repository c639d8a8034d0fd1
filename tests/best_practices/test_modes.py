"""Rules about modes and gradients: a network that breaks each, one that does not, and how bad each finding is."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from flawed_networks import (
    Example,
    RuleExamples,
    conv_norm,
    findings,
    mixed,
    optimised,
    severities,
    small,
)
from headstart.best_practices import modes
from headstart.best_practices.doctor import doctor
from headstart.freezing import freeze


def marked(name: str) -> nn.Module:
    network = conv_norm()
    setattr(network[0], name, False)
    return network


EXAMPLES: dict[str, Example] = {
    "mixed train and eval mode": Example(
        lambda: (mixed("norm"), {}), "error", ("0.1",), lambda: (conv_norm().eval(), {})
    ),
    "no trainable parameters": Example(
        lambda: (conv_norm().requires_grad_(False).train(), {}),
        "warning",
        (),
        lambda: (conv_norm().requires_grad_(False).eval(), {}),
    ),
    "freezing without effect": Example(
        lambda: (marked("requires_grad"), {}), "error", ("0.requires_grad",), lambda: (conv_norm(), {})
    ),
    "trained in eval mode": Example(
        lambda: optimised(conv_norm().eval(), lambda net: net.parameters()),
        "warning",
        (),
        lambda: optimised(conv_norm(), lambda net: net.parameters()),
    ),
}


class TestExamples(RuleExamples):
    file, examples = modes, EXAMPLES


@pytest.mark.slow
def test_modes_that_differ_are_judged_by_what_they_do():
    rule = "mixed train and eval mode"
    chance = nn.Sequential(small(), nn.Dropout(0.5)).eval()
    chance[1].train()
    assert list(findings(doctor(chance), rule)) == ["warning"]
    settled = nn.Sequential(small()).train()
    settled[0][1].eval()
    assert list(findings(doctor(settled), rule)) == ["advice"]
    frozen = nn.Sequential(small(), nn.Conv2d(4, 2, 1))
    freeze(frozen, until="1")
    assert rule in doctor(frozen.train()).passed


def test_an_optimiser_without_trained_parameters_is_an_error():
    network = small()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    diagnosis = doctor(network.requires_grad_(False), optimizer=optimizer)
    assert list(findings(diagnosis, "no trainable parameters")) == ["error"]


@pytest.mark.slow
def test_misspelt_attributes_freeze_nothing_and_real_ones_do():
    rule = "freezing without effect"
    assert severities(doctor(marked("trainable")), rule) == {"error": ("0.trainable",)}
    network = conv_norm()
    network[0].weight.require_grad = False
    assert severities(doctor(network), rule) == {"error": ("0.weight.require_grad",)}
    network = marked("requires_grad")
    network[0].requires_grad_(False)
    assert rule in doctor(network).passed


def test_a_train_method_that_stays_in_eval_mode_is_found():
    class Stuck(nn.Sequential):
        def train(self, mode: bool = True) -> Stuck:
            return super().train(False)

    network = Stuck(*conv_norm()).train()
    assert severities(doctor(network), "trained in eval mode") == {"warning": ("1",)}
