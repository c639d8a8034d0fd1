"""Level 2: networks: a new head, freezing that freezes, a shortcut."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from headstart.lab.exercises.exercise import Exercise, named, same, true

Names = Mapping[str, Any]
_STARTER = "from torch import nn\n\n\n{}:\n    raise NotImplementedError"


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


REPLACE_HEAD = Exercise(
    name="replace-head",
    level=2,
    title="A new head for a pretrained network",
    task="""Write replace_head(model, classes): model.head is an nn.Linear; put a new one of `classes` outputs in its
place that takes as many features, and return the model. All other weights stay.""",
    starter=_STARTER.format("def replace_head(model, classes)"),
    solution="""from torch import nn


def replace_head(model, classes):
    model.head = nn.Linear(model.head.in_features, classes)
    return model""",
    checks={
        "the scores have one column for each class": _head_has_the_classes,
        "the features keep their weights": _head_keeps_features,
        "it reads the number of features from the old head": _head_fits_any_width,
    },
)


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


FROZEN_STEP = Exercise(
    name="frozen-step",
    level=2,
    title="A training step that leaves a frozen network as it is",
    task="""Write train_step(model, images, labels, optimizer): one step of gradient descent on the cross-entropy
that changes model.head and nothing else in the model, neither weights nor statistics of batch norm. The
optimizer has all of the model's parameters.""",
    starter=_STARTER.format("def train_step(model, images, labels, optimizer)"),
    solution="""from torch import nn


def train_step(model, images, labels, optimizer):
    model.train()
    model.features.eval()  # or each batch would move the running statistics
    model.features.requires_grad_(False)
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(images), labels).backward()
    optimizer.step()""",
    checks={
        "the head learns": _step_trains_the_head,
        "the weights of the features stay": lambda names: _step_keeps(names, "weights"),
        "the running statistics stay": lambda names: _step_keeps(names, "statistics"),
    },
)


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


RESIDUAL = Exercise(
    name="residual",
    level=2,
    title="A residual connection",
    task="""Write a module Residual(branch): its output is the input plus what the branch, another module, makes of
it. With a branch that gives zeros it must be the identity, for negative inputs too.""",
    starter="""from torch import nn


class Residual(nn.Module):
    def __init__(self, branch):
        super().__init__()
        raise NotImplementedError""",
    solution="""from torch import nn


class Residual(nn.Module):
    def __init__(self, branch):
        super().__init__()
        self.branch = branch

    def forward(self, x):
        return x + self.branch(x)""",
    checks={
        "the output is input plus branch": _residual_adds,
        "with a branch of zeros it is the identity": _residual_identity,
        "the branch's weights are the module's": _residual_registers,
    },
)

EXERCISES = (REPLACE_HEAD, FROZEN_STEP, RESIDUAL)
