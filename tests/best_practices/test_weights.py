"""Rules about weights: a network that breaks each, one that does not, and how bad each finding is."""

from __future__ import annotations

import torch
from torch import nn

from flawed_networks import (
    Example,
    Listed,
    RuleExamples,
    Unused,
    findings,
    severities,
    small,
    with_weight,
)
from headstart.best_practices import weights
from headstart.best_practices.doctor import doctor

EXAMPLES: dict[str, Example] = {
    "non-finite weights": Example(
        lambda: (with_weight(float("nan")), {}), "error", ("0.weight",), lambda: (with_weight(1.0), {})
    ),
    "half precision on the CPU": Example(
        lambda: (nn.Linear(4, 2).half(), {}), "warning", ("weight", "bias"), lambda: (nn.Linear(4, 2), {})
    ),
    "unregistered modules": Example(
        lambda: (Listed(plain=True), {}), "warning", ("layers",), lambda: (Listed(plain=False), {})
    ),
    "unused parameters": Example(
        lambda: (Unused(used=False), {}), "advice", ("extra",), lambda: (Unused(used=True), {})
    ),
    "shared layers": Example(
        lambda: (nn.Sequential(*[nn.Linear(4, 4), nn.ReLU()] * 2), {}),
        "warning",
        ("2",),
        lambda: (nn.Sequential(nn.Linear(4, 4), relu := nn.ReLU(), nn.Linear(4, 4), relu), {}),
    ),
}


class TestExamples(RuleExamples):
    file, examples = weights, EXAMPLES


def test_a_negative_variance_is_an_error():
    network = small()
    network[1].running_var[2] = -0.1
    reported = findings(doctor(network), "non-finite weights")
    assert reported == {"error": "batch norms with a negative running variance: 1"}


def test_a_plain_tensor_is_advice():
    network = small()
    network.table = torch.zeros(3, 3)
    assert severities(doctor(network), "unregistered modules") == {"advice": ("table",)}
