"""The rule about what a loss can reach: losses that a perfect output does not bring to 0, and ones that it does."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from best_practices.test_training_step import step
from flawed_networks import Example, Net, RuleExamples, findings
from headstart.best_practices import loss_reach
from headstart.best_practices.doctor import doctor


class Cosine(nn.Module):
    """Cosines between features and a row for each class, by one of several ways, times a scale."""

    def __init__(self, way: str = "linear", scale: float | None = None) -> None:
        super().__init__()
        self.net, self.rows, self.way, self.scale = Net(4), nn.Parameter(torch.randn(3, 4)), way, scale

    def forward(self, x: Tensor) -> Tensor:
        x = self.net(x)
        if self.way == "linear":
            x = F.linear(F.normalize(x, dim=1), F.normalize(self.rows, dim=1))
        elif self.way == "matmul":
            x = x / x.norm(dim=1, keepdim=True) @ (self.rows / self.rows.norm(dim=1, keepdim=True)).t()
        elif self.way == "similarity":
            x = F.cosine_similarity(x[:, None], self.rows[None], dim=2)
        else:
            x = F.normalize(x[:, :3], dim=1)
        return x if self.scale is None else x * self.scale


EXAMPLES: dict[str, Example] = {
    "loss out of reach": Example(lambda: step(Cosine()), "warning", (), lambda: step(Cosine(scale=16))),
}


class TestExamples(RuleExamples):
    file, examples = loss_reach, EXAMPLES


class Last(nn.Module):
    """A network, and a function of its output."""

    def __init__(self, function: object) -> None:
        super().__init__()
        self.net, self.function = Net(), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.net(x))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("given", "severity", "said"),
    [
        *((step(Cosine(way)), "warning", "leaves a loss of 0.24") for way in ("linear", "matmul", "similarity", "")),
        (step(Last(torch.abs)), "error", "that of abs, never below 0"),
        (step(Last(lambda x: x**2)), "error", "that of pow, never below 0"),
        (step(loss=lambda z, y: F.nll_loss(z.softmax(1), y)), "warning", "is -1.00: the logarithm"),
        (step(loss=lambda z, y: F.nll_loss(z.sigmoid().log(), y)), "error", "nothing in it pushes other classes down"),
    ],
)
def test_what_cannot_fall_to_nothing_is_told(given: tuple[nn.Module, dict[str, object]], severity: str, said: str):
    network, options = given
    assert said in findings(doctor(network, **options), "loss out of reach")[severity]  # type: ignore[arg-type]


def test_the_loss_that_is_left_is_that_of_cosines_of_1_and_minus_1():
    """log(1 + 2 / e²), by hand."""
    network, options = step(Cosine())
    found = findings(doctor(network, **options), "loss out of reach")["warning"]  # type: ignore[arg-type]
    assert float(found.rpartition(" ")[2]) == pytest.approx(torch.tensor(1 + 2 / torch.e**2).log().item(), abs=0.005)


@pytest.mark.parametrize(
    "given",
    [
        step(Cosine(), lambda z, y: F.cross_entropy(20 * z, y)),
        step(Last(lambda x: x**3)),
        step(Last(lambda x: -(x**2))),
        step(loss=nn.CrossEntropyLoss(label_smoothing=0.1)),
        step(loss=nn.MultiMarginLoss()),
        step(loss=lambda z, y: (1 - z.softmax(1).gather(1, y[:, None])).mean()),
        step(loss=lambda z, y: F.binary_cross_entropy_with_logits(z, F.one_hot(y, 3).float())),
        step(nn.Sequential(Net(), nn.LogSoftmax(1)), nn.NLLLoss()),
        step(Net(1), nn.MSELoss(), y=torch.randn(16, 1)),
    ],
)
def test_losses_that_can_fall_to_nothing_pass(given: tuple[nn.Module, dict[str, object]]):
    network, options = given
    assert "loss out of reach" in doctor(network, **options).passed  # type: ignore[arg-type]
