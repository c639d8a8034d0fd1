"""Gradients are clipped once, by one clipping at a time."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim import SGD

from headstart.errors import TrainingError
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


@pytest.mark.parametrize("kind", ["value", "backprop", "norm"])
@pytest.mark.parametrize("replaced", ["model", "layer"])
def test_clipping_follows_a_model_that_is_replaced_after_it_was_set(kind: str, replaced: str) -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    sbs = StepByStep(model, nn.CrossEntropyLoss(), SGD(model.parameters(), lr=1.0))
    set_clip = {"value": sbs.set_clip_grad_value, "norm": sbs.set_clip_grad_norm, "backprop": sbs.set_clip_backprop}
    set_clip[kind](1e-3)
    if replaced == "model":
        sbs.model = nn.Sequential(nn.Linear(3, 2))
    else:
        sbs.model[0] = nn.Linear(3, 2)
    sbs.optimizer = SGD(sbs.model.parameters(), lr=1.0)
    before = sbs.model[0].weight.detach().clone()
    sbs.train_step_fn(*points().tensors)
    assert 1e-4 < (sbs.model[0].weight - before).abs().max().item() <= 1.001e-3
    old = model[0].weight if replaced == "model" else None
    if old is not None:  # the old model is left without a hook
        model(torch.full((1, 3), 100.0)).sum().backward()
        assert old.grad is not None
        assert old.grad.max() > 1


def test_a_function_and_a_list_of_handles_may_be_assigned_as_the_course_does_and_none_ends_them() -> None:
    sbs = loop(validation=False, lr=1.0)
    sbs.clipping = lambda: nn.utils.clip_grad_value_(sbs.model.parameters(), 1e-4)
    before = sbs.model[0].weight.detach().clone()
    sbs.train_step_fn(*points().tensors)
    assert (sbs.model[0].weight - before).abs().max() <= 1.001e-4
    sbs.train(1)
    sbs.lr_range_test(sbs.train_loader, 10.0, 5)

    for end in ("remove_clip", "None"):
        sbs.clipping = []
        for parameter in sbs.model.parameters():
            sbs.clipping.append(parameter.register_hook(lambda grad: torch.clamp(grad, -1e-9, 1e-9)))
        sbs.train(1)
        sbs.remove_clip() if end == "remove_clip" else setattr(sbs, "clipping", None)
        assert sbs.clipping is None
        sbs.model(points().tensors[0]).sum().backward()
        assert sbs.model[0].weight.grad is not None
        assert sbs.model[0].weight.grad.abs().max() > 1e-6
    with pytest.raises(TrainingError, match="set_clip_grad_norm"):
        sbs.clipping = 1.0


def test_hooks_of_a_clipping_that_another_one_replaces_by_assignment_are_removed() -> None:
    sbs = loop(validation=False)
    sbs.set_clip_backprop(1e-9)
    sbs.clipping = lambda: None
    sbs.model(points().tensors[0]).sum().backward()
    assert sbs.model[4].weight.grad is not None
    assert sbs.model[4].weight.grad.abs().max() > 1e-6
