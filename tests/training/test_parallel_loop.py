"""ParallelLoop: alone it makes StepByStep's steps; a loss that is a sum too. Two processes: finetune/test_processes."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from headstart.training.parallel_loop import ParallelLoop
from headstart.training.process_group import ProcessGroup
from headstart.training.stepbystep import StepByStep


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_group_of_one_makes_the_same_steps(reduction: str, accumulate: int) -> None:
    torch.manual_seed(1)
    x, y = torch.randn(14, 4), torch.randint(3, (14,))
    found = []
    with ProcessGroup(0, 1, dist.HashStore()).joined() as group:
        for more in ({}, {"group": group}):
            torch.manual_seed(2)
            model = nn.Linear(4, 3)
            loss_fn = nn.CrossEntropyLoss(torch.tensor([1.0, 2.0, 3.0]), reduction=reduction)
            kind = ParallelLoop if more else StepByStep
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            loop = kind(model, loss_fn, optimizer, accumulate=accumulate, progress=False, device="cpu", **more)
            loop.set_loaders(DataLoader(TensorDataset(x, y), batch_size=4))
            loop.train(2)
            found.append((loop.losses, model.weight.detach()))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-6)
