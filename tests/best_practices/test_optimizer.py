"""Rules about the optimiser: a network that breaks each, one that does not, and how bad each finding is."""

from __future__ import annotations

import pytest
import torch

from flawed_networks import (
    Example,
    Net,
    RuleExamples,
    findings,
    of_a_copy,
    optimised,
    small,
    two_optimisers,
    without_decay,
)
from headstart.best_practices import optimizer
from headstart.best_practices.doctor import doctor

EXAMPLES: dict[str, Example] = {
    "parameters missing from the optimiser": Example(
        lambda: optimised(Net(), lambda net: net.fc.parameters()),
        "error",
        ("stem.weight", "stem.bias", "block.conv.weight", "block.norm.weight", "block.norm.bias"),
        lambda: optimised(Net(), lambda net: net.parameters()),
    ),
    "parameters in several optimiser groups": Example(
        lambda: two_optimisers(shared=True),
        "warning",
        ("fc.weight", "fc.bias"),
        lambda: two_optimisers(shared=False),
    ),
    "foreign parameters in the optimiser": Example(
        lambda: of_a_copy(Net(), Net()), "warning", (), lambda: optimised(Net(), lambda net: net.parameters())
    ),
    "weight decay on batch norm": Example(
        lambda: optimised(Net(), lambda net: net.parameters(), weight_decay=1e-4),
        "advice",
        ("block.norm",),
        without_decay,
    ),
    "learning rate out of range": Example(
        lambda: optimised(Net(), lambda net: [{"params": net.parameters(), "lr": 0.0}]),
        "error",
        (),
        lambda: optimised(Net(), lambda net: net.parameters()),
    ),
    "weight decay out of range": Example(
        lambda: optimised(Net(), lambda net: net.parameters(), weight_decay=5.0),
        "warning",
        (),
        lambda: optimised(Net(), lambda net: net.parameters(), weight_decay=5e-4),
    ),
    "momentum out of range": Example(
        lambda: optimised(Net(), lambda net: net.parameters(), momentum=1.0),
        "error",
        (),
        lambda: optimised(Net(), lambda net: net.parameters(), momentum=0.9),
    ),
    "gradient ascent": Example(
        lambda: optimised(Net(), lambda net: net.parameters(), maximize=True),
        "error",
        (),
        lambda: optimised(Net(), lambda net: net.parameters()),
    ),
}


class TestExamples(RuleExamples):
    file, examples = optimizer, EXAMPLES


def test_an_optimiser_of_a_copy_is_an_error():
    optimizer = torch.optim.SGD(small().parameters(), lr=0.1)
    diagnosis = doctor(small(), optimizer=optimizer)
    assert list(findings(diagnosis, "foreign parameters in the optimiser")) == ["error"]
    assert list(findings(diagnosis, "parameters missing from the optimiser")) == ["error"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "rate", "severity"),
    [
        (torch.optim.SGD, 1.0, []),
        (torch.optim.SGD, 10.0, ["warning"]),
        (torch.optim.SGD, 1e3, ["error"]),
        (torch.optim.SGD, 1e-10, ["error"]),
        (torch.optim.Adam, 3e-4, []),
        (torch.optim.Adam, 0.1, ["warning"]),
        (torch.optim.Adam, 10.0, ["error"]),
        (torch.optim.Adadelta, 1.0, []),
    ],
)
def test_a_rate_is_judged_by_what_the_optimiser_does_with_it(kind, rate: float, severity: list[str]):
    network = small()
    diagnosis = doctor(network, optimizer=kind(network.parameters(), lr=rate))
    assert list(findings(diagnosis, "learning rate out of range")) == severity


@pytest.mark.parametrize(("eps", "found"), [(1e-8, 0), (1e-3, 0), (1.0, 0), (10.0, 1)])
def test_a_large_epsilon_of_adam_is_a_warning(eps: float, found: int):
    network = small()
    diagnosis = doctor(network, optimizer=torch.optim.Adam(network.parameters(), eps=eps))
    issues = [one for one in diagnosis.findings if one.name == "learning rate out of range"]
    assert [one.severity for one in issues] == ["warning"] * found
    assert all("the rate is in effect 0.0001" in one.found for one in issues)


def test_a_schedule_may_begin_at_zero():
    network = small()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: step / 10)
    assert optimizer.param_groups[0]["lr"] == 0
    assert "learning rate out of range" in doctor(network, optimizer=optimizer).passed


@pytest.mark.parametrize(
    ("betas", "found"),
    [((0.9, 0.999), []), ((0.9, 0.95), []), ((0.0, 0.99), []), ((0.5, 0.999), []), ((0.95, 0.95), []),
     ((0.999, 0.9), ["warning"]), ((0.0, 0.0), ["warning"]), ((0.9, 1.0), ["error"])],
)  # fmt: skip
def test_the_second_beta_is_the_longer_one(betas: tuple[float, float], found: list[str]):
    network = small()
    adam = torch.optim.AdamW(network.parameters())
    adam.param_groups[0]["betas"] = betas
    assert list(findings(doctor(network, optimizer=adam), "momentum out of range")) == found


@pytest.mark.parametrize(("rate", "found"), [(1e-7, ["warning"]), (0.1 * 0.65**25, []), (0.01, [])])
def test_rates_of_groups_that_are_far_apart_are_a_warning(rate: float, found: list[str]):
    network = small()
    first, *others = network.parameters()
    groups = [{"params": [first], "lr": rate}, {"params": others}]
    diagnosis = doctor(network, optimizer=torch.optim.SGD(groups, lr=0.1))
    assert list(findings(diagnosis, "learning rate out of range")) == found
