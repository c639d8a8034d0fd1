"""Rules about the backward pass: a network that breaks each, one that does not, and how bad each finding is."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flawed_networks import Example, Net, RuleExamples
from headstart.best_practices import backward
from headstart.best_practices.doctor import doctor


class Head(nn.Module):
    """A convolution, something done to its result, and a linear layer."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.conv, self.act, self.fc, self.kind = nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Linear(4, 2), kind

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if self.kind == "kept":
            x = self.act(x) + x
        elif self.kind == "replaced":
            x = self.act(x)
            x = x + x.mean()
        elif self.kind == "statement":
            x.relu_()
            x = x + 1
        elif self.kind == "detached":
            x = x.detach()
        elif self.kind == "changed":
            x = torch.sigmoid(x)
            x += 1
        return self.fc(F.relu(x).mean((2, 3)))


EXAMPLES: dict[str, Example] = {
    "failing backward pass": Example(lambda: (Head("changed"), {}), "error", (), lambda: (Head("replaced"), {})),
    "overwritten in place": Example(
        lambda: (Head("kept"), {}), "error", ("the network itself",), lambda: (Head("replaced"), {})
    ),
    "parameters without a gradient": Example(lambda: (Head("detached"), {}), "error", ("conv",), lambda: (Net(), {})),
}


class TestExamples(RuleExamples):
    file, examples = backward, EXAMPLES


def test_a_statement_in_place_is_meant():
    assert "overwritten in place" in doctor(Head("statement")).passed


def test_a_network_that_wants_targets_in_train_mode_is_not_blamed():
    class Detector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                raise ValueError("targets should not be none when in training mode")
            return self.fc(x)

    reasons = {one.rule: one.reason for one in doctor(Detector()).not_checked}
    assert "targets should not be none" in reasons["failing backward pass"]
    assert "targets should not be none" in reasons["parameters without a gradient"]


def test_an_auxiliary_output_counts_as_an_output():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc, self.extra = nn.Conv2d(3, 4, 3), nn.Linear(4, 2), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> object:
            x = F.relu(self.conv(x)).mean((2, 3))
            return (self.fc(x), self.extra(x)) if self.training else self.fc(x)

    assert "parameters without a gradient" in doctor(Two()).passed
