"""Batches of any form and models with two outputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from headstart.errors import TrainingError
from headstart.training.batch import two_output_loss
from headstart.training.stepbystep import StepByStep
from small_loops import points


def test_batches_may_be_mappings_or_have_several_inputs() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 2)

        def forward(self, pixels: Tensor, extra: Tensor) -> Tensor:
            return self.linear(pixels) + extra[:, :2]

    x, y = points().tensors
    finals = []
    for batches in (
        [{"pixels": x, "extra": x, "labels": y}],
        [(x, x, y)],
    ):
        torch.manual_seed(0)
        model = Two()
        sbs = StepByStep(model, nn.CrossEntropyLoss(), SGD(model.parameters(), lr=0.1))
        sbs.set_loaders(batches, batches)
        sbs.train(3)
        finals.append(sbs.losses)
    assert finals[0] == finals[1]
    sbs.set_loaders([{"pixels": x}])
    with pytest.raises(TrainingError, match="mapping with"):
        sbs.train(1)


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(8)
        self.main, self.aux = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Any:
        from torchvision.models.inception import InceptionOutputs

        return InceptionOutputs(self.main(x), self.aux(x)) if self.training else self.main(x)


def test_d28_two_outputs_are_known_by_their_type_so_that_a_batch_of_two_rows_is_one_output() -> None:
    model = TwoHeads()
    sbs = StepByStep(model, nn.CrossEntropyLoss(), SGD(model.parameters(), lr=0.1))
    x, y = points(2).tensors
    loss_fn = nn.CrossEntropyLoss()
    model.eval()
    assert sbs.val_step_fn(x, y) == pytest.approx(loss_fn(model(x), y).item())
    expected = loss_fn(model.main(x), y) + 0.4 * loss_fn(model.aux(x), y)
    assert sbs.train_step_fn(x, y) == pytest.approx(expected.item())
    assert two_output_loss(loss_fn)(model.eval()(x), y).shape == ()
