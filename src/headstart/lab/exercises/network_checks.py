"""The checks of level 2: heads, frozen steps and shortcuts, on a small network."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import nn

from headstart.lab.exercises.comparison import Check, Names, named, same, true


def _network() -> nn.Sequential:
    """A small pretrained network, for these checks: features with batch norm, and a head of 10 classes."""
    layers = [nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(OrderedDict(features=nn.Sequential(*layers), head=nn.Linear(6, 10)))


def _images(count: int = 8) -> torch.Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def _with_new_head(names: Names, model: nn.Module, classes: int) -> nn.Module:
    found = named(names, "replace_head")(model, classes)
    return found if isinstance(found, nn.Module) else model


def _head_has_the_classes(names: Names) -> None:
    model = _with_new_head(names, _network(), 3)
    same(torch.tensor(model(_images()).shape), torch.tensor([8, 3]), "shape of the scores of 8 images, 3 classes")


def _head_keeps_features(names: Names) -> None:
    network = _network()
    before = copy.deepcopy(network.get_submodule("features").state_dict())
    model = _with_new_head(names, network, 3)
    for name, value in model.get_submodule("features").state_dict().items():
        same(value, before[name], f"features.{name}")


def _head_fits_any_width(names: Names) -> None:
    model = _with_new_head(names, nn.Sequential(OrderedDict(features=nn.Flatten(), head=nn.Linear(12, 5))), 2)
    same(torch.tensor(model(torch.ones(1, 12)).shape), torch.tensor([1, 2]), "shape of scores, head of 12 features")


def _step(names: Names) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    model = _network()
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(2):
        named(names, "train_step")(model, _images(), torch.arange(8) % 10, optimizer)
    return before, model.state_dict()


def _step_trains_the_head(names: Names) -> None:
    before, after = _step(names)
    moved = float((after["head.weight"] - before["head.weight"]).abs().max())
    true(moved > 1e-3, "the head's weights to move", f"a largest change of {moved:.1e}")


def _step_keeps(names: Names, kind: str) -> None:
    before, after = _step(names)
    for name, value in before.items():
        if name.startswith("features") and ("running" in name or "tracked" in name) == (kind == "statistics"):
            same(after[name], value, name, tolerance=0.0)


def _residual_adds(names: Names) -> None:
    branch = nn.Linear(4, 4)
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(2))
    same(named(names, "Residual")(branch)(x), x + branch(x), "x plus the branch")


def _residual_identity(names: Names) -> None:
    branch = nn.Linear(3, 3)
    nn.init.zeros_(branch.weight)
    nn.init.zeros_(branch.bias)
    x = torch.tensor([[-1.0, 0.0, 2.0]])
    same(named(names, "Residual")(branch)(x), x, "a branch of zeros, and a negative input")


def _residual_registers(names: Names) -> None:
    block = named(names, "Residual")(nn.Linear(3, 3))
    count = sum(each.numel() for each in block.parameters()) if isinstance(block, nn.Module) else 0
    true(count == 12, "a module with the branch's 12 parameters", f"{count}")


CHECKS: Mapping[str, tuple[Check, ...]] = {
    "replace-head": (
        _head_has_the_classes,
        _head_keeps_features,
        _head_fits_any_width,
    ),
    "frozen-step": (
        _step_trains_the_head,
        lambda names: _step_keeps(names, "weights"),
        lambda names: _step_keeps(names, "statistics"),
    ),
    "residual": (
        _residual_adds,
        _residual_identity,
        _residual_registers,
    ),
}
"""Name of an exercise → its checks, in the order of its words."""
