"""Gradients are clipped once, by one clipping at a time."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim import SGD

from headstart.training.records import StepRecord
from headstart.training.stepbystep import StepByStep
from small_loops import equal, loop, points


def test_d23_one_clipping_at_a_time_in_every_order_and_none_is_left_behind() -> None:
    for first, second in (("set_clip_grad_norm", "set_clip_backprop"), ("set_clip_backprop", "set_clip_grad_value")):
        sbs = loop(validation=False)
        getattr(sbs, first)(1e-6)
        getattr(sbs, second)(1e-6)
        sbs.remove_clip()
        assert sbs.clipping is None
        plain = loop(validation=False)
        sbs.train(1)
        plain.train(1)
        assert equal(sbs, plain)


@pytest.mark.parametrize("kind", ["value", "backprop"])
def test_clipped_elements_move_by_no_more_than_rate_times_limit(kind: str) -> None:
    model = nn.Linear(3, 2)
    sbs = StepByStep(model, nn.CrossEntropyLoss(), SGD(model.parameters(), lr=1.0))
    getattr(sbs, {"value": "set_clip_grad_value", "backprop": "set_clip_backprop"}[kind])(1e-3)
    x, y = points().tensors
    before = model.weight.detach().clone()
    sbs.train_step_fn(x, y)
    moved = (model.weight - before).abs().max().item()
    assert moved == pytest.approx(1e-3, rel=1e-3)


def test_d24_gradients_of_two_backward_passes_are_clipped_once_they_are_summed() -> None:
    model = nn.Linear(3, 1, bias=False)
    sbs = StepByStep(model, nn.MSELoss(), SGD(model.parameters(), lr=1.0))
    sbs.set_clip_backprop(1e-3)
    for _ in range(2):
        model(torch.ones(1, 3)).sum().backward()
    assert model.weight.grad is not None
    assert model.weight.grad.max().item() == pytest.approx(1e-3)


def test_the_norm_before_clipping_is_recorded() -> None:
    sbs = loop(validation=False)
    sbs.set_clip_grad_norm(1e-3)
    record = next(sbs.steps(1))
    assert isinstance(record, StepRecord)
    assert record.norm is not None
    assert record.norm > 1e-3
