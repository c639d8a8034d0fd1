"""preserve: whatever is done inside, everything is as it was afterwards, also when it fails."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import StepLR

from headstart.preserve import RandomState, preserve, torch_settings_kept

CHANGE = Callable[[nn.Module, torch.optim.Optimizer], None]


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(4 * 36, 2))


def snapshot(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, object]:
    grads = {n: None if p.grad is None else p.grad.clone() for n, p in model.named_parameters()}
    return {
        "state": {name: tensor.clone() for name, tensor in model.state_dict().items()},
        "grads": grads,
        "wanted": {name: p.requires_grad for name, p in model.named_parameters()},
        "modes": [part.training for part in model.modules()],
        "optimizer": copy.deepcopy(optimizer.state_dict()),
        "step": optimizer.__dict__.get("step"),
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state()[1].tolist(),
        "python": random.getstate(),
    }


def same(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return one == other


def train_two_steps(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    model.train()
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.randn(5, 3, 8, 8)).square().sum().backward()
        optimizer.step()


def schedule_it(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    scheduler = StepLR(optimizer, 1)
    optimizer.step()
    scheduler.step()


def freeze_by_hand(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    model.eval().requires_grad_(False)


def draw_numbers(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    np.random.rand(3), random.random(), torch.rand(3)


def drop_gradients(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad(set_to_none=True)


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("change", [train_two_steps, schedule_it, freeze_by_hand, draw_numbers, drop_gradients])
def test_nothing_that_happens_inside_is_left(change: CHANGE, fails: bool) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    train_two_steps(model, optimizer)
    model[1].eval()
    model[0].weight.requires_grad_(False)
    model(torch.randn(2, 3, 8, 8)).sum().backward()
    before, parameters = snapshot(model, optimizer), list(model.parameters())

    def inside() -> None:
        with preserve(model, optimizer=optimizer):
            change(model, optimizer)
            if fails:
                raise KeyboardInterrupt

    if fails:
        with pytest.raises(KeyboardInterrupt):
            inside()
    else:
        inside()

    after = snapshot(model, optimizer)
    assert {key: same(before[key], after[key]) for key in before} == dict.fromkeys(before, True)
    assert all(one is other for one, other in zip(parameters, model.parameters(), strict=True))


def test_the_changes_do_change_something_without_it() -> None:
    for change in (train_two_steps, schedule_it, freeze_by_hand, draw_numbers, drop_gradients):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        train_two_steps(model, optimizer)
        before = snapshot(model, optimizer)
        change(model, optimizer)
        after = snapshot(model, optimizer)
        assert not all(same(before[key], after[key]) for key in before), change.__name__


def test_a_generator_of_its_own_is_put_back() -> None:
    generator = torch.Generator().manual_seed(3)
    with preserve(generators=[generator]):
        first = torch.rand(4, generator=generator)
    assert torch.equal(first, torch.rand(4, generator=generator))


def test_random_states_come_back_from_plain_values() -> None:
    state = RandomState.now()
    drawn = torch.rand(2).tolist(), np.random.rand(2).tolist(), random.random(), np.random.standard_normal()
    RandomState(**vars(state)).restore()
    assert (torch.rand(2).tolist(), np.random.rand(2).tolist(), random.random(), np.random.standard_normal()) == drawn


def spoil_settings() -> None:
    with torch_settings_kept():
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        raise ValueError("inside")


def test_torchs_settings_are_kept_also_after_an_error() -> None:
    with pytest.raises(ValueError, match="inside"):
        spoil_settings()

    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()
