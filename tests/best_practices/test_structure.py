"""Rules about how layers follow each other: a network that breaks each, and one that does not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from flawed_networks import Example, Net, RuleExamples, severities
from headstart.best_practices import structure
from headstart.best_practices.doctor import doctor


def stack(*layers: nn.Module) -> tuple[nn.Module, dict[str, object]]:
    return nn.Sequential(*layers), {}


def conv(taken: int, given: int, side: int = 3, **options: int) -> nn.Conv2d:
    return nn.Conv2d(taken, given, side, padding=side // 2, **options)


EXAMPLES: dict[str, Example] = {
    "no activation between layers": Example(
        lambda: stack(conv(3, 8), nn.BatchNorm2d(8), conv(8, 8)),
        "warning",
        ("2",),
        lambda: stack(conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(), conv(8, 8)),
    ),
    "softmax between layers": Example(
        lambda: stack(nn.Linear(6, 8), nn.Softmax(1), nn.Dropout(0.1), nn.Linear(8, 3)),
        "warning",
        ("1",),
        lambda: stack(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3), nn.Softmax(1)),
    ),
    "one-unit bottleneck": Example(
        lambda: stack(nn.Linear(6, 1), nn.ReLU(), nn.Linear(1, 3)),
        "error",
        ("0",),
        lambda: stack(nn.Linear(6, 2), nn.ReLU(), nn.Linear(2, 1)),
    ),
    "normalised twice": Example(
        lambda: stack(conv(3, 8), nn.BatchNorm2d(8), nn.BatchNorm2d(8)),
        "warning",
        ("2",),
        lambda: stack(conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(), nn.BatchNorm2d(8)),
    ),
    "convolution on maps of one pixel": Example(
        lambda: stack(conv(3, 8), nn.AdaptiveAvgPool2d(1), conv(8, 8)),
        "warning",
        ("2",),
        lambda: stack(conv(3, 8), nn.AdaptiveAvgPool2d(1), conv(8, 8, 1)),
    ),
    "constant normalisation": Example(
        lambda: stack(conv(3, 8), nn.AdaptiveAvgPool2d(1), nn.GroupNorm(8, 8)),
        "error",
        ("2",),
        lambda: stack(conv(3, 8), nn.AdaptiveAvgPool2d(1), nn.GroupNorm(2, 8)),
    ),
}


class TestExamples(RuleExamples):
    file, examples = structure, EXAMPLES


@pytest.mark.slow
@pytest.mark.parametrize(
    "layers",
    [
        (conv(3, 32), nn.ReLU(), conv(32, 32, groups=32), conv(32, 32, 1)),  # separable
        (conv(3, 32), nn.ReLU(), conv(32, 4, 1), conv(4, 32, 1)),  # a bottleneck
        (nn.Conv2d(3, 8, (1, 7), padding=(0, 3)), nn.Conv2d(8, 8, (7, 1), padding=(3, 0))),
        (conv(3, 8), nn.MaxPool2d(2), conv(8, 8)),
        (nn.Linear(32, 4), nn.Linear(4, 32)),  # low rank
    ],
)
def test_two_layers_that_save_weights_are_meant(layers: tuple[nn.Module, ...]):
    assert "no activation between layers" in doctor(nn.Sequential(*layers)).passed


@pytest.mark.slow
def test_a_leaky_relu_with_a_slope_of_one_is_none():
    for slope, found in ((1.0, {"warning": ("2",)}), (0.2, {})):
        network = nn.Sequential(conv(3, 8), nn.LeakyReLU(slope), conv(8, 8))
        assert severities(doctor(network), "no activation between layers") == found


def test_a_shortcut_goes_around_a_narrow_branch():
    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.gate, self.fc = nn.Linear(6, 6), nn.Linear(6, 1), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = torch.relu(self.one(x))
            return self.fc(x * torch.sigmoid(self.gate(x)))

    assert "one-unit bottleneck" in doctor(Gate()).passed


def test_one_channel_is_a_warning():
    network = nn.Sequential(conv(3, 1), nn.ReLU(), conv(1, 8), nn.ReLU())
    assert severities(doctor(network), "one-unit bottleneck") == {"warning": ("0",)}


def test_the_net_of_the_other_tests_breaks_none():
    names = {finding.name for finding in doctor(Net()).findings}
    assert not names & set(EXAMPLES)


def test_a_layer_norm_after_a_batch_norm_is_twice_as_well():
    network = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.LayerNorm(8), nn.ReLU())
    assert severities(doctor(network), "normalised twice") == {"warning": ("2",)}
