"""Rules about the images of a batch: a network that breaks each, one that does not, and how bad each finding is."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from flawed_networks import Example, Net, RuleExamples, small
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
        return self.fc(x)


EXAMPLES: dict[str, Example] = {
    "images mixed across the batch": Example(lambda: (Odd("mixed"), {}), "error", (), lambda: (Net(), {})),
    "batch of one image": Example(lambda: (Odd("squeezed"), {}), "warning", (), lambda: (Net(), {})),
    "rows and images differ": Example(lambda: (Odd("halved"), {}), "error", (), lambda: (Net(), {})),
}


class TestExamples(RuleExamples):
    file, examples = batch_mixing, EXAMPLES


def test_a_random_output_is_not_called_mixed():
    assert "images mixed across the batch" in doctor(Odd("noisy")).passed


def test_batch_norm_without_running_statistics_has_a_rule_of_its_own():
    reasons = {one.rule: one.reason for one in doctor(small(track_running_stats=False)).not_checked}
    assert "running statistics" in reasons["images mixed across the batch"]
