"""Rules about the forward pass: a network that breaks each, one that does not, and how bad each finding is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import Tensor, nn

from flawed_networks import (
    Example,
    Net,
    RuleExamples,
    dead,
    findings,
    noise,
    pixels,
    small,
)
from headstart.best_practices import activations
from headstart.best_practices.doctor import doctor
from headstart.wording import percent

EXAMPLES: dict[str, Example] = {
    "failing forward pass": Example(
        lambda: (Net(), {"images": pixels()[:, :1]}), "error", (), lambda: (Net(), {"images": pixels()})
    ),
    "dead ReLUs": Example(lambda: dead(-100.0), "error", ("2",), lambda: dead(0.0)),
}


class TestExamples(RuleExamples):
    file, examples = activations, EXAMPLES


@pytest.mark.parametrize(("dead", "severity"), [(0, None), (1, "advice"), (2, "advice"), (3, "warning"), (4, "error")])
def test_dead_relus_are_counted(dead: int, severity: str | None):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    network[0].bias.data[:dead] = -100.0
    reported = findings(doctor(network, images=noise(40, 3, 8, 8)), "dead ReLUs")
    assert list(reported) == ([severity] if severity else [])
    assert all(f"up to {percent(dead / 4)} " in text for text in reported.values())


class Sequences(nn.Module):
    """Images as sequences of pixels N×3×L through some layers."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x.flatten(2))


class Tokens(nn.Module):
    """N×C×L to tokens N×L×C."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


@pytest.mark.parametrize(
    "layers",
    [
        lambda dead: [dead(nn.Conv1d(3, 5, 3))],
        lambda dead: [dead(nn.Conv1d(3, 5, 3)), nn.MaxPool1d(2)],
        lambda dead: [nn.Conv1d(3, 5, 3), dead(nn.BatchNorm1d(5))],
        lambda dead: [nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4), Tokens(), dead(nn.Linear(4, 5))],
        lambda dead: [dead(nn.Conv1d(3, 5, 3)), Tokens()],
    ],
)
def test_channels_of_sequences_and_of_tokens_are_counted_along_their_own_axis(layers: Callable[..., list[nn.Module]]):
    def dead(layer: nn.Module) -> nn.Module:
        layer.bias.data[:4] = -100.0  # type: ignore[operator, union-attr]
        return layer

    reported = findings(doctor(Sequences(*layers(dead), nn.ReLU()), images=noise(40, 3, 8, 8)), "dead ReLUs")
    assert list(reported) == ["warning"]
    assert f"up to {percent(0.8)} " in reported["warning"]


def test_dead_relus_are_not_checked_with_a_few_images():
    (lack,) = [one for one in doctor(small(), images=noise(31, 3, 8, 8)).not_checked if one.rule == "dead ReLUs"]
    assert lack.reason == "needs 32 images or more (there are 31)"


def test_outputs_that_are_not_finite_are_an_error():
    class Root(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean((1, 2, 3), keepdim=True).sqrt()

    reported = findings(doctor(Root(), images=noise(4, 3, 2, 2) - 3), "failing forward pass")
    assert reported == {"error": "nan or infinity in the output for 4 of 4 images"}
