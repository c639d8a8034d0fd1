"""Rules about a first training step: a network that breaks each, one that does not, and how bad each finding is."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from flawed_networks import Example, RuleExamples, findings, noise, severities
from headstart.best_practices import initialisation
from headstart.best_practices.doctor import doctor


def deep(
    fill: object = None, activation: type[nn.Module] = nn.ReLU, depth: int = 8
) -> tuple[nn.Module, dict[str, object]]:
    """Linear layers of 32 units; a seeded network, perhaps initialised in another way."""
    torch.manual_seed(0)
    layers = [layer for _ in range(depth) for layer in (nn.Linear(32, 32), activation())]
    network = nn.Sequential(*layers, nn.Linear(32, 4))
    for module in network.modules():
        if isinstance(module, nn.Linear) and callable(fill):
            fill(module.weight)
    return network, {}


def sound() -> tuple[nn.Module, dict[str, object]]:
    return deep(nn.init.kaiming_normal_)


def fixed(value: float) -> tuple[nn.Module, dict[str, object]]:
    network, options = sound()
    nn.init.constant_(network[2].weight, value)  # type: ignore[index]
    return network, options


EXAMPLES: dict[str, Example] = {
    "exploding activations": Example(
        lambda: deep(partial(nn.init.normal_, std=3.0)), "error", ("6", "8", "10", "12", "14", "16"), sound
    ),
    "vanishing activations": Example(lambda: deep(partial(nn.init.normal_, std=1e-3)), "error", ("16",), sound),
    "output independent of the images": Example(
        lambda: (
            nn.Sequential(
                nn.Linear(4, 4),
                nn.LayerNorm(4),
                nn.Linear(4, 2),
                nn.LayerNorm((2,)),
                nn.Softmax(1),
                nn.Linear(2, 1),
                nn.Softmax(1),
            ),
            {},
        ),
        "error",
        (),
        sound,
    ),
    "symmetric initialisation": Example(lambda: fixed(0.1), "warning", ("2",), sound),
    "saturated activations": Example(
        lambda: deep(partial(nn.init.normal_, std=3.0), nn.Tanh, 1), "warning", ("1",), lambda: deep(None, nn.Tanh, 1)
    ),
}


class TestExamples(RuleExamples):
    file, examples = initialisation, EXAMPLES


def test_equal_units_with_equal_gradients_are_an_error():
    network, _ = deep(partial(nn.init.constant_, val=0.1))
    assert severities(doctor(network), "symmetric initialisation")["error"] == tuple(map(str, range(0, 16, 2)))


def test_a_last_layer_of_zeros_is_no_symmetry_and_no_dead_end():
    network, _ = sound()
    nn.init.zeros_(network[-1].weight)  # type: ignore[index]
    diagnosis = doctor(network)
    assert "symmetric initialisation" in diagnosis.passed
    assert "output independent of the images" in {one.rule for one in diagnosis.not_checked}


def test_a_gradient_that_vanishes_is_an_error():
    network, _ = deep(None, nn.Sigmoid, 16)
    assert list(severities(doctor(network), "vanishing activations")) == ["error"]


def test_a_loud_head_is_an_error():
    network, _ = sound()
    nn.init.normal_(network[-1].weight, std=100.0)  # type: ignore[index]
    assert severities(doctor(network), "exploding activations") == {"error": ()}


def test_a_layer_of_zeros_in_a_branch_that_is_still_closed_is_no_symmetry():
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate, self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
            nn.init.zeros_(self.gate.weight)  # as in timm's gcresnet: of a sum
            nn.init.zeros_(self.norm.weight)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.norm(self.conv(x + self.gate(x.mean((2, 3), keepdim=True))))

    network = nn.Sequential(nn.Conv2d(3, 3, 3), Gated(), nn.Flatten(), nn.Linear(3 * 14 * 14, 3))
    assert "symmetric initialisation" in doctor(network, images=noise(4, 3, 16, 16)).passed
    assert not network[1].norm.weight.any()


def test_rounding_of_the_pixels_is_no_obstacle_and_of_features_is():
    class Rounded(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x * 255).round() / 255

    first = nn.Sequential(Rounded(), nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 14 * 14, 3))
    later = nn.Sequential(nn.Conv2d(3, 8, 3), Rounded(), nn.Flatten(), nn.Linear(8 * 14 * 14, 3))
    images = noise(4, 3, 16, 16)
    assert "vanishing activations" in doctor(first, images=images).passed
    assert "at the first layer is 0.0e+00" in findings(doctor(later, images=images), "vanishing activations")["error"]


def test_a_mask_of_yes_and_no_that_features_are_multiplied_with_is_no_scale():
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 8, 3), nn.Linear(8, 3)
            self.register_buffer("mask", torch.ones(8, dtype=torch.bool))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(torch.relu(self.conv(x)).mean((2, 3)) * self.mask)

    assert "vanishing activations" in doctor(Masked(), images=noise(4, 3, 16, 16)).passed
