"""Synchronised batch norm: torch's own numbers for a whole batch, and what subclasses do besides stays."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.errors import TrainingError
from headstart.training import synced_batch_norm
from headstart.training.process_group import ProcessGroup
from headstart.training.synced_batch_norm import SyncedBatchNorm


@pytest.fixture
def alone() -> Iterator[None]:
    with ProcessGroup(0, 1, dist.HashStore()).joined():
        yield


class WithActivation(nn.BatchNorm2d):
    """As timm's BatchNormAct2d: the activation is inside."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(super().forward(x)) * 2


@pytest.mark.parametrize("make", [nn.BatchNorm2d, WithActivation, lambda c: nn.BatchNorm2d(c, affine=False)])
def test_one_process_gets_the_values_and_gradients_of_torch(alone: None, make: type[nn.BatchNorm2d]) -> None:
    torch.manual_seed(0)
    x = torch.randn(5, 3, 4, 4) * 3 + 1
    weights = torch.randn(5, 3, 4, 4)
    found = []
    for synced in (False, True):
        layer, own = make(3), x.clone().requires_grad_()
        if synced:
            with SyncedBatchNorm():
                out = layer(own)
        else:
            out = layer(own)
        (out * weights).sum().backward()
        found.append([out, own.grad, *layer.buffers(), *(p.grad for p in layer.parameters())])
    for plain, ours in zip(*found, strict=True):
        assert torch.allclose(plain, ours, atol=1e-5)


def test_rows_without_maps_are_normalised_too(alone: None) -> None:
    layer, x = nn.BatchNorm1d(3), torch.randn(6, 3)
    with SyncedBatchNorm():
        assert torch.allclose(layer(x), nn.BatchNorm1d(3)(x), atol=1e-6)


def test_in_eval_mode_nothing_changes(alone: None) -> None:
    layer, x = WithActivation(3).eval(), torch.randn(6, 3, 2, 2)
    with SyncedBatchNorm():
        assert torch.equal(layer(x), WithActivation(3).eval()(x))


def test_rows_that_stand_in_count_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    others = iter([torch.tensor(8.0), torch.full((3,), 16.0), torch.full((3,), 32.0)])  # of the other process
    monkeypatch.setattr(synced_batch_norm, "_sum", lambda own: own + next(others))
    layer = nn.BatchNorm2d(3, momentum=1.0)
    with SyncedBatchNorm(idle=True):
        layer(torch.full((1, 3, 2, 2), 1e3))
    assert layer.running_mean is not None
    assert layer.running_mean.tolist() == [2.0] * 3
    assert layer.running_var is not None
    assert torch.allclose(layer.running_var, torch.full((3,), 32 / 7))


def test_one_value_in_a_channel_is_refused(alone: None) -> None:
    with pytest.raises(TrainingError, match="no deviation over one"), SyncedBatchNorm():
        nn.BatchNorm2d(3)(torch.ones(1, 3, 1, 1))
