"""Frozen is not frozen: without gradients the weights stay, but the batch-norm statistics still drift.

Claim: a network whose parameters all have `requires_grad=False` still changes while a head is trained on it, because
    every training step moves the running statistics of its batch norms, so its features are different afterwards;
    `headstart.freeze` keeps every tensor of it bit for bit.
Source: the chapter on transfer learning, which freezes by `requires_grad` only. Ioffe and Szegedy 2015, algorithm 2:
    the statistics are no parameters.
Settings: the residual network `random` from seed 0 and a linear head of 3 classes, 64 random images 3×32×32 in
    batches of 16, random labels, 5 epochs of SGD with learning rate 0.01.
Expected: with `requires_grad=False` 0 of the parameters and all of the running statistics change; with
    `headstart.freeze` nothing, and the features of the same images stay bit-identical; the head learns in both.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from headstart.backbones.models.small_resnet import SmallResNet
from headstart.backbones.weight_files import tensor_hash
from headstart.figures.panels import Line, Panel, Plot
from headstart.figures.style import BLUE, ORANGE
from headstart.freezing import freeze
from headstart.inspection.inspection_result import Table
from headstart.lab.experiment import Experiment, Number, require, seeded
from headstart.training.stepbystep import StepByStep

SOURCE = "chapter on transfer learning, freezing the model; Ioffe and Szegedy 2015, algorithm 2"
_CLASSES = 3


@dataclass(frozen=True)
class Outcome:
    """A network before and after its head was trained.

    Args:
        before, after: hash of all tensors of the network without its head.
        parameters, statistics: how many of them changed.
        features: largest change of the features of the same images, over their standard deviation.
        head: largest change of a weight of the head. drift: mean shift of the statistics after each epoch.
    """

    before: str
    after: str
    parameters: int
    statistics: int
    features: float
    head: float
    drift: tuple[float, ...]


def run(
    *, seed: int = 0, images: int = 64, side: int = 32, batch_size: int = 16, epochs: int = 5, lr: float = 0.01
) -> Experiment:
    """Train a head on a network frozen by either method, and compare its tensors before and after.

    Raises:
        RecipeError: there is nothing to train on.
    """
    require(
        min(images, batch_size) >= 2 and epochs >= 0,
        "at least two images and zero epochs",
        found=(images, epochs),
        where="run",
    )
    settings: dict[str, object] = dict(locals())
    with seeded(seed):
        network = SmallResNet()
        model = nn.Sequential(OrderedDict(network=network, head=nn.Linear(256, _CLASSES)))
        pixels, labels = torch.randn(images, 3, side, side), torch.randint(_CLASSES, (images,))
        loader = DataLoader(TensorDataset(pixels, labels), batch_size=batch_size, shuffle=True)
        no_gradients, frozen = copy.deepcopy(model), copy.deepcopy(model)
        no_gradients.get_submodule("network").requires_grad_(False)
        freeze(frozen, until="head")
        usual, kept = (_train(each, loader, epochs=epochs, lr=lr) for each in (no_gradients, frozen))
    statistics = sum(1 for name, _ in network.named_buffers() if name.endswith(("running_mean", "running_var")))
    found = (
        Number("requires_grad=False: parameters that changed", float(usual.parameters), 0.0),
        Number("requires_grad=False: statistics that changed", float(usual.statistics), float(statistics)),
        Number(
            "requires_grad=False: largest change of a feature in standard deviations",
            usual.features,
            0.01,
            relation="≥",
        ),
        Number("headstart.freeze: parameters that changed", float(kept.parameters), 0.0),
        Number("headstart.freeze: statistics that changed", float(kept.statistics), 0.0),
        Number("headstart.freeze: largest change of a feature", kept.features, 0.0),
        Number("headstart.freeze: largest change of a weight of the head", kept.head, 1e-4, relation="≥"),
    )
    return Experiment(
        "frozen_is_not_frozen",
        SOURCE,
        settings,
        numbers=found,
        tables=(_table(usual, kept),),
        interpretation=_interpretation(usual, kept, statistics),
        panels=_panels(usual, kept),
    )


def _train(model: nn.Module, loader: DataLoader[tuple[Tensor, ...]], *, epochs: int, lr: float) -> Outcome:
    network, head = model.get_submodule("network"), model.get_parameter("head.weight")
    before, head_before = copy.deepcopy(network.state_dict()), head.detach().clone()
    pixels = loader.dataset[:][0]
    features = _features(network, pixels)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    loop = StepByStep(model, nn.CrossEntropyLoss(), torch.optim.SGD(trained, lr=lr))
    loop.to("cpu")
    loop.set_loaders(loader)
    drift = [_drift(before, network.state_dict()) for _ in loop.epochs(epochs)]
    after = network.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    parameters = {name for name, _ in network.named_parameters()}
    return Outcome(
        before=tensor_hash(before),
        after=tensor_hash(after),
        parameters=len(changed & parameters),
        statistics=len([name for name in changed if name.endswith(("running_mean", "running_var"))]),
        features=float((_features(network, pixels) - features).abs().max() / features.std()),
        head=float((head.detach() - head_before).abs().max()),
        drift=(0.0, *drift),
    )


@torch.no_grad()
def _features(network: nn.Module, pixels: Tensor) -> Tensor:
    features: Tensor = network.eval()(pixels)
    network.train()
    return features


def _drift(before: dict[str, Tensor], after: dict[str, Tensor]) -> float:
    """Mean shift of the running means, in the standard deviations stored at the start."""
    shifts = [
        ((after[name] - before[name]) / before[name.replace("mean", "var")].sqrt()).abs().mean()
        for name in before
        if name.endswith("running_mean")
    ]
    return float(torch.stack(shifts).mean())


def _table(usual: Outcome, kept: Outcome) -> Table:
    rows = tuple(
        (name, outcome.before[:12], outcome.after[:12], outcome.parameters, outcome.statistics)
        for name, outcome in (("requires_grad=False", usual), ("headstart.freeze", kept))
    )
    columns = ("frozen by", "SHA-256 before", "SHA-256 after", "changed parameters", "changed statistics")
    return Table("The network without its head, before and after training", columns, rows)


def _interpretation(usual: Outcome, kept: Outcome, statistics: int) -> tuple[str, ...]:
    kept_hash = "unchanged" if kept.before == kept.after else "changed"
    usual_hash = "unchanged" if usual.before == usual.after else "changed"
    return (
        f"With requires_grad=False {usual.statistics} of {statistics} running statistics changed (hash {usual_hash}), "
        f"and a feature moved by up to {usual.features:.2f} standard deviations. With headstart.freeze the hash is "
        f"{kept_hash}.",
    )


def _panels(usual: Outcome, kept: Outcome) -> tuple[Panel, ...]:
    epochs = range(len(usual.drift))
    lines = (
        Line("requires_grad=False", epochs, usual.drift, ORANGE),
        Line("headstart.freeze", epochs, kept.drift, BLUE),
    )
    return (
        Plot(
            "Drift of the running means of a frozen network",
            lines,
            x_label="epoch",
            y_label="mean shift, in standard deviations",
        ),
    )
