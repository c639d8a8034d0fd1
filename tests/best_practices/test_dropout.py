"""Rules about dropout: a network that breaks each, one that does not, and how bad each finding is."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from flawed_networks import (
    Dropping,
    Example,
    RuleExamples,
    after_dropout,
    findings,
    noise,
    small,
)
from headstart.best_practices import dropout
from headstart.best_practices.doctor import doctor


def dropped(rate: float, *, last: bool = False) -> tuple[nn.Module, dict[str, object]]:
    """A small classifier with dropout at its input or on its output."""
    layers = [nn.Conv2d(3, 8, 3), nn.Dropout(0.0 if last else rate), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers[:3], nn.Sequential(layers[3], nn.Linear(8, 3)), nn.Dropout(rate if last else 0.0)), {}


EXAMPLES: dict[str, Example] = {
    "dropout before batch norm": Example(lambda: after_dropout(0.5), "warning", ("1",), lambda: after_dropout(0.0)),
    "dropout in eval mode": Example(
        lambda: (Dropping(forgetful=True), {}),
        "error",
        ("the network itself",),
        lambda: (Dropping(forgetful=False).train(), {}),
    ),
    "dropout out of range": Example(lambda: dropped(0.95), "warning", ("1",), lambda: dropped(0.8)),
    "dropout on the output": Example(lambda: dropped(0.5, last=True), "warning", ("4",), lambda: dropped(0.5)),
}


class TestExamples(RuleExamples):
    file, examples = dropout, EXAMPLES


@pytest.mark.parametrize(("mean", "keep"), [(0.5, 0.5), (1.0, 0.8), (0.0, 0.5)])
def test_the_variance_shift_behind_dropout_is_that_of_the_formula(mean: float, keep: float):
    network = nn.Sequential(nn.Dropout(1 - keep), nn.BatchNorm2d(3))
    text = findings(doctor(network, images=noise(16, 3, 48, 48) + mean), "dropout before batch norm")["warning"]
    expected = 1 / ((mean**2 + 1) / keep - mean**2)  # Li et al. 2018: v / ((c² + v)/p - c²)
    assert float(text.split(" is ")[1].split()[0]) == pytest.approx(expected, abs=0.011)  # written with two decimals


@pytest.mark.slow
def test_dropout_after_the_last_batch_norm_passes():
    behind = nn.Sequential(small(), nn.Dropout(0.5), nn.Conv2d(4, 2, 1))
    settled = nn.Sequential(nn.Dropout(0.0), small())
    assert "dropout before batch norm" in doctor(behind).passed
    assert "dropout before batch norm" not in {one.name for one in doctor(settled).findings}


@pytest.mark.slow
def test_the_shift_is_reported_at_the_first_batch_norm_only():
    network = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm2d(3), nn.BatchNorm2d(3))
    (finding,) = [one for one in doctor(network).findings if one.name == "dropout before batch norm"]
    assert finding.places == ("1",)


@pytest.mark.parametrize(("layers", "rate", "found"), [(1, 0.5, 1), (2, 0.5, 0), (1, 0.0, 0)])
@pytest.mark.filterwarnings("ignore:dropout option adds dropout")
def test_dropout_in_a_recurrent_network_needs_two_layers(layers: int, rate: float, found: int):
    class Rows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rows, self.fc = nn.GRU(24, 8, layers, batch_first=True, dropout=rate), nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(self.rows(x.permute(0, 2, 1, 3).flatten(2))[0][:, -1])

    diagnosis = doctor(Rows(), batch=(torch.randn(16, 3, 8, 8), torch.arange(16) % 3))
    assert len([one for one in diagnosis.findings if one.name == "dropout out of range"]) == found
