"""Rules about the images of a batch: a network that breaks each, one that does not, and how bad each finding is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flawed_networks import Example, Net, RuleExamples, findings, noise, small
from headstart.best_practices import batch_mixing
from headstart.best_practices.doctor import doctor


class Odd(nn.Module):
    """A convolution, something done across the batch, and a linear layer."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.conv, self.fc, self.kind = nn.Conv2d(3, 4, 3), nn.Linear(2 if kind == "halved" else 4, 2), kind

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv(x)).mean((2, 3))
        if self.kind == "mixed":
            x = x.t().reshape(-1, 4)
        elif self.kind == "halved":
            x = x.view(-1, 2)
        elif self.kind == "squeezed":
            x = x.squeeze()
        elif self.kind == "noisy":
            x = F.dropout(x)
        elif self.kind == "drawn":
            x = x + torch.rand(len(x), 1)
        elif self.kind == "standardised":
            x = x - x.mean(0)
            x = x / ((x**2).sum(0) / (len(x) - 1)).sqrt()  # 0 / 0 for one image
        elif self.kind == "earlier":
            x = x + x.cumsum(0).roll(1, 0).index_fill(0, torch.tensor([0]), 0.0)
        return self.fc(x)


EXAMPLES: dict[str, Example] = {
    "images mixed across the batch": Example(lambda: (Odd("mixed"), {}), "error", (), lambda: (Net(), {})),
    "batch of one image": Example(lambda: (Odd("squeezed"), {}), "warning", (), lambda: (Net(), {})),
    "rows and images differ": Example(lambda: (Odd("halved"), {}), "error", (), lambda: (Net(), {})),
    "random output in eval mode": Example(lambda: (Odd("drawn"), {}), "warning", (), lambda: (Net(), {})),
}


class TestExamples(RuleExamples):
    file, examples = batch_mixing, EXAMPLES


@pytest.mark.slow
def test_an_output_that_depends_on_earlier_images_alone_is_mixed():
    assert findings(doctor(Odd("earlier")), "images mixed across the batch").keys() == {"error"}
    recurrent = nn.Sequential(nn.Flatten(2), nn.LSTM(16, 3), Last())  # (time, batch, features) is its order
    assert findings(doctor(recurrent, images=noise(4, 3, 4, 4)), "images mixed across the batch").keys() == {"error"}


class Last(nn.Module):
    """The last entry along the second axis of what a recurrent layer gives."""

    def forward(self, given: tuple[Tensor, object]) -> Tensor:
        return given[0][:, -1]


def test_a_deviation_over_the_batch_is_mixed_though_that_of_one_image_is_no_number():
    assert findings(doctor(Odd("standardised")), "images mixed across the batch").keys() == {"error"}


def test_a_random_output_is_not_called_mixed():
    assert "images mixed across the batch" in doctor(Odd("drawn")).passed
    assert "images mixed across the batch" in doctor(Odd("noisy")).passed


def test_batch_norm_without_running_statistics_has_a_rule_of_its_own():
    reasons = {one.rule: one.reason for one in doctor(small(track_running_stats=False)).not_checked}
    assert "running statistics" in reasons["images mixed across the batch"]
