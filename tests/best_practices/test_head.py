"""Rules about the output: a network that breaks each, one that does not, and how bad each finding is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from flawed_networks import (
    Example,
    Net,
    RuleExamples,
    findings,
    labelled,
    severities,
)
from headstart.backbones.backbone import load_backbone
from headstart.best_practices import head
from headstart.best_practices.doctor import doctor
from headstart.heads.head import Head


def frozen_head(classes: int) -> nn.Module:
    network = Net(classes)
    network.fc.requires_grad_(False)
    return network


class Sorted(Net):
    """Gives its logits from the largest to the smallest."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).sort(1, descending=True)[0]


class Scaled(Net):
    """Multiplies its logits."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * self.factor


def layers(activation: nn.Module) -> nn.Module:
    """An activation between two linear layers."""
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 20), activation, nn.Linear(20, 3))


def biased(bias: float) -> nn.Module:
    network = Net()
    nn.init.constant_(network.fc.bias[1:2], bias)
    return network


EXAMPLES: dict[str, Example] = {
    "outputs and classes differ": Example(
        lambda: (Net(classes=2), {"images": labelled(3)}),
        "error",
        ("fc",),
        lambda: (Net(classes=3), {"images": labelled(3)}),
    ),
    "softmax as output": Example(
        lambda: (nn.Sequential(Net(), nn.Softmax(1)), {}),
        "warning",
        ("1",),
        lambda: (nn.Sequential(Net(), nn.LogSoftmax(1)), {}),
    ),
    "activation as output": Example(
        lambda: (nn.Sequential(Net(), nn.ReLU()), {}), "warning", ("1",), lambda: (Net(), {})
    ),
    "probabilities computed twice": Example(
        lambda: (nn.Sequential(Net(), nn.Softmax(1), nn.Softmax(1)), {}),
        "error",
        (),
        lambda: (nn.Sequential(Net(), nn.Softmax(1)), {}),
    ),
    "output scaled down": Example(lambda: (Scaled(0.001), {}), "warning", ("fc",), lambda: (Scaled(0.1), {})),
    "probabilities as features": Example(
        lambda: (layers(nn.Softmax(1)), {}), "warning", ("3",), lambda: (layers(nn.ReLU()), {})
    ),
    "bias of one class": Example(lambda: (biased(50.0), {}), "warning", ("fc",), lambda: (biased(-5.0), {})),
    "sorted output": Example(lambda: (Sorted(), {}), "error", ("the network itself",), lambda: (Net(), {})),
    "frozen head": Example(lambda: (frozen_head(200), {}), "error", ("fc",), lambda: (Net(), {})),
}


class TestExamples(RuleExamples):
    file, examples = head, EXAMPLES


@pytest.mark.parametrize(("width", "classes", "kinds"), [(1000, 3, ["warning"]), (1, 2, []), (1, 3, ["error"])])
def test_more_outputs_than_classes_are_a_warning_and_one_is_enough_for_two(width: int, classes: int, kinds: list[str]):
    network = nn.Sequential(nn.Conv2d(3, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, width))
    assert list(findings(doctor(network, images=labelled(classes)), "outputs and classes differ")) == kinds


@pytest.mark.slow
def test_the_pretrained_head_of_a_backbone_is_not_checked():
    backbone = load_backbone("embedded")
    reasons = {one.rule: one.reason for one in doctor(backbone).not_applicable}
    assert reasons["outputs and classes differ"] == "no head: training gives a backbone one"


@pytest.mark.slow
def test_a_classifier_whose_head_lost_a_class_is_an_error(small_classifier):
    model = small_classifier()
    head = model.head
    model.head = Head(head.kind, head.stages, head.weight[:, :2], head.bias[:2], head.temperature, head.unit)
    assert severities(doctor(model), "outputs and classes differ") == {"error": ()}


def test_a_frozen_head_whose_weights_are_not_random_is_a_warning():
    network = frozen_head(200)
    network.fc.weight.data **= 5
    assert list(findings(doctor(network), "frozen head")) == ["warning"]


def test_a_sigmoid_with_one_output_is_advice():
    assert list(findings(doctor(nn.Sequential(Net(1), nn.Sigmoid())), "activation as output")) == ["advice"]


class Ended(nn.Module):
    """A network whose forward ends in a line of its own."""

    def __init__(self, end: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.net, self.end = Net(40), end  # so many that some are negative

    def forward(self, pixels: Tensor) -> Tensor:
        return self.end(self.net(pixels))


@pytest.mark.parametrize(
    ("end", "kinds"),
    [
        (lambda logits: logits.clamp(0, 1), ["warning"]),
        (lambda logits: logits.clamp(min=0), ["warning"]),
        (lambda logits: torch.sigmoid(torch.relu(logits)), ["warning"]),
        (lambda logits: logits.clamp(-30, 30), []),  # bounds only what is absurd
        (lambda logits: logits, []),
    ],
)
def test_a_clamp_of_one_side_and_a_relu_before_a_sigmoid_are_found(
    end: Callable[[Tensor], Tensor], kinds: list[str]
) -> None:
    torch.manual_seed(0)

    assert list(findings(doctor(Ended(end)), "activation as output")) == kinds
