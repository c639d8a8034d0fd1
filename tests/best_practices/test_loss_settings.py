"""Numbers that a loss is given beside outputs: those that mislead, and those that do not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from flawed_networks import Example, Net, RuleExamples, findings
from headstart.best_practices import loss_settings
from headstart.best_practices.doctor import doctor

LABELS = torch.arange(16) % 3
SHARES = nn.functional.one_hot(LABELS, 3).float()


def step(loss: object = None, targets: torch.Tensor = LABELS) -> tuple[nn.Module, dict[str, object]]:
    torch.manual_seed(0)
    return Net(), {"loss": loss or nn.CrossEntropyLoss(), "batch": (torch.randn(16, 3, 8, 8), targets)}


EXAMPLES = {
    "loss settings out of range": Example(
        lambda: step(nn.CrossEntropyLoss(weight=torch.tensor([1.0, -1.0, 1.0]))), "error", (), step
    )
}


class TestExamples(RuleExamples):
    file, examples = loss_settings, EXAMPLES


@pytest.mark.parametrize(
    ("loss", "targets", "severity"),
    [
        (nn.CrossEntropyLoss(weight=torch.tensor([1.0, 0.0, 1.0])), LABELS, "warning"),
        (nn.CrossEntropyLoss(weight=torch.tensor([1.0, float("nan"), 1.0])), LABELS, "error"),
        (nn.CrossEntropyLoss(ignore_index=2), LABELS, "warning"),
        (nn.CrossEntropyLoss(label_smoothing=0.9), LABELS, "warning"),
        (nn.CrossEntropyLoss(reduction="sum"), LABELS, "warning"),
        (nn.CrossEntropyLoss(), SHARES + SHARES.flip(0), "error"),
        (nn.BCEWithLogitsLoss(pos_weight=torch.full((3,), 1e4)), SHARES, "warning"),
    ],
)
def test_settings_that_mislead_are_said(loss: nn.Module, targets: torch.Tensor, severity: str):
    network, given = step(loss, targets)
    assert list(findings(doctor(network, **given), "loss settings out of range")) == [severity]


@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        (nn.CrossEntropyLoss(weight=torch.tensor([0.2, 3.0, 40.0])), LABELS),
        (nn.CrossEntropyLoss(ignore_index=255, label_smoothing=0.1), LABELS),
        (nn.CrossEntropyLoss(), 0.3 * SHARES + 0.7 * SHARES.flip(0)),
        (nn.CrossEntropyLoss(label_smoothing=0.1), SHARES.half().float()),
        (nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1.0, 20.0, 200.0])), SHARES + SHARES.roll(1, 1)),
        (nn.MSELoss(), 5 * SHARES),
    ],
)
def test_settings_that_are_usual_pass(loss: nn.Module, targets: torch.Tensor):
    network, given = step(loss, targets)
    assert "loss settings out of range" in doctor(network, **given).passed
