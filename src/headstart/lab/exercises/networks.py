"""Level 2: networks: a new head, freezing that freezes, a shortcut. Importing this needs no torch."""

from __future__ import annotations

from headstart.lab.exercises.exercise import Exercise

_CHECKS = "headstart.lab.exercises.network_checks"
_STARTER = "from torch import nn\n\n\n{}:\n    raise NotImplementedError"

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
    checks=(
        "the scores have one column for each class",
        "the features keep their weights",
        "it reads the number of features from the old head",
    ),
    checked_by=_CHECKS,
)

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
    checks=(
        "the head learns",
        "the weights of the features stay",
        "the running statistics stay",
    ),
    checked_by=_CHECKS,
)

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
    checks=(
        "the output is input plus branch",
        "with a branch of zeros it is the identity",
        "the branch's weights are the module's",
    ),
    checked_by=_CHECKS,
)

EXERCISES = (REPLACE_HEAD, FROZEN_STEP, RESIDUAL)
