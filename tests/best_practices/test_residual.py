"""Rules about residual sums: a network that breaks each, one that does not, and how bad each finding is."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn

from flawed_networks import (
    Block,
    Example,
    Net,
    RuleExamples,
    findings,
)
from headstart.best_practices import residual
from headstart.best_practices.doctor import doctor


class Doubled(nn.Module):
    """A branch that is added to itself, where its input was meant."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.conv(x))
        return x + x


EXAMPLES: dict[str, Example] = {
    "residual branches not zero-initialised": Example(
        lambda: (Net(), {}), "advice", ("block.norm",), lambda: (Net(block=Block(zero=True)), {})
    ),
    "no gradient through a shortcut": Example(
        lambda: (Net(block=Block(cut=True)), {}), "error", ("block",), lambda: (Net(), {})
    ),
    "sum with itself": Example(lambda: (Net(block=Doubled()), {}), "warning", ("block",), lambda: (Net(), {})),
}


class TestExamples(RuleExamples):
    file, examples = residual, EXAMPLES


class Through(nn.Module):
    """Rounded forward, straight through backward: x + (round(w x) - x).detach(). No shortcut is detached."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + (torch.round(self.conv(x)) - x).detach()


class Dying(nn.Module):
    """A residual sum with nothing alive behind it, and an in-place ReLU that writes into the sum."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 3, 1), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(x + self.conv(x)) * 0


def test_a_detached_branch_is_no_detached_shortcut_and_a_dead_end_is_a_warning():
    rule = "no gradient through a shortcut"
    assert rule in doctor(Through()).passed
    assert list(findings(doctor(Dying()), rule)) == ["warning"]


class Cut(nn.Module):
    """A shortcut that lets no gradient through."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x.detach() + self.conv(x)


def test_a_detached_shortcut_is_found_where_gradients_cannot_be_measured():
    with torch.device("meta"):
        network = Cut()
    diagnosis = doctor(network)
    assert list(findings(diagnosis, "no gradient through a shortcut")) == ["error"]
    assert "no gradient through a shortcut" not in {one.rule for one in diagnosis.not_checked}


@pytest.mark.slow
def test_a_head_that_was_initialised_to_zero_is_no_dead_end():
    network = torchvision.models.resnet18(weights=None)
    nn.init.zeros_(network.fc.weight)
    reasons = {one.rule: one.reason for one in doctor(network).not_checked}
    assert "not all zero" in reasons["no gradient through a shortcut"]


class Extractor(nn.Module):
    """Blocks that are frozen on purpose, by no_grad in forward, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x = x + self.conv(x)
        return self.head(x)


def test_blocks_that_run_without_gradients_on_purpose_are_no_detached_shortcut():
    assert "no gradient through a shortcut" in doctor(Extractor()).passed
