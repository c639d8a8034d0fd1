"""Every rule: a network that breaks it, and one, as like it as can be, that does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.backbones.backbone import Backbone, load_backbone
from headstart.best_practices.diagnosis import Diagnosis
from headstart.best_practices.doctor import doctor
from headstart.best_practices.rules import RULES
from headstart.classifier.classifier import Classifier
from headstart.freezing import freeze
from headstart.heads.head import Head
from headstart.inspection.inspected_images import InspectedImages

Given = tuple[object, dict[str, object]]


@dataclass(frozen=True)
class Example:
    """A model with what is handed in, that breaks a rule with a severity at places; and one that does not."""

    broken: Callable[[], Given]
    severity: str
    places: tuple[str, ...]
    sound: Callable[[], Given]


class Block(nn.Module):
    """x + batch norm(convolution(x)), then ReLU; the shortcut may be cut, the branch begun at zero."""

    def __init__(self, *, cut: bool = False, zero: bool = False, bias: bool = False, alive: bool = True) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 3, padding=1, bias=bias), nn.BatchNorm2d(3)
        self.cut, self.alive = cut, alive
        if zero:
            nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        way = x.detach() if self.cut else x
        out = self.norm(self.conv(x))
        out += way
        return F.relu(out if self.alive else out * 0 - 1)


class Net(nn.Module):
    """A block between a convolution and a linear layer with so many classes."""

    def __init__(self, classes: int = 3, block: nn.Module | None = None) -> None:
        super().__init__()
        self.stem, self.block, self.fc = nn.Conv2d(3, 3, 3), block or Block(), nn.Linear(3, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.block(self.stem(x)).mean((2, 3)))


class Twice(nn.Module):
    """Two convolutions with one batch norm, or with one each."""

    def __init__(self, shared: bool) -> None:
        super().__init__()
        self.a, self.b, self.norm = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.other = self.norm if shared else nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.other(self.b(F.relu(self.norm(self.a(x)))))


class Dropping(nn.Module):
    """A functional dropout that knows of the mode, or does not."""

    def __init__(self, forgetful: bool) -> None:
        super().__init__()
        self.conv, self.forgetful = nn.Conv2d(3, 3, 1), forgetful

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return F.dropout(x) if self.forgetful else F.dropout(x, training=self.training)


class Listed(nn.Module):
    """Layers in a plain list, or in a ModuleList."""

    def __init__(self, plain: bool) -> None:
        super().__init__()
        layers = [nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)]
        self.layers = layers if plain else nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class Unused(nn.Module):
    """A layer that is read, and one that may not be."""

    def __init__(self, used: bool) -> None:
        super().__init__()
        self.conv, self.extra, self.used = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), used

    def forward(self, x: Tensor) -> Tensor:
        return self.extra(self.conv(x)) if self.used else self.conv(x)


def pixels(count: int = 4, side: int = 16, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed)).clamp(-1.9, 1.9)


def labelled(classes: int, count: int = 4) -> InspectedImages:
    names = tuple(f"class {i}" for i in range(classes))
    return InspectedImages(
        pixels(count), tuple(map(str, range(count))), labels=torch.zeros(count).long(), classes=names
    )


def conv_norm(*, bias: bool = False, norm: nn.Module | None = None) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 3, 3, bias=bias), norm or nn.BatchNorm2d(3), nn.ReLU())


def trained(network: nn.Module, *, statistics: bool = True) -> nn.Module:
    """As if it had been trained: scales, shifts and, perhaps, statistics that have moved."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
            if statistics and module.running_mean is not None:
                module.running_mean.normal_(0, 0.1)
    return network


def with_weight(value: float) -> nn.Module:
    network = conv_norm()
    network[0].weight.data[0, 0, 0, 0] = value
    return network


def with_scales(*scales: float) -> nn.Module:
    network = trained(conv_norm())
    network[1].weight.data[:] = torch.tensor(scales)
    return network


def half_frozen(guarded: bool) -> nn.Module:
    network = nn.Sequential(conv_norm(), nn.Conv2d(3, 3, 1))
    if guarded:
        freeze(network, until="1")
    else:
        network[0].requires_grad_(False)
    return network.train()


def mixed(kind: str) -> nn.Module:
    network = nn.Sequential(conv_norm(), nn.Dropout(0.5)).eval()
    network[0][1 if kind == "norm" else 0].train()
    return network


def after_dropout(mean: float) -> Given:
    """Dropout of a half in front of batch norm; the further the mean from 0, the larger the shift."""
    return nn.Sequential(nn.Dropout(0.5 if mean else 1e-3), nn.BatchNorm2d(3)), {"images": pixels() + mean}


def dead(bias: float, share: int = 3) -> Given:
    network = conv_norm(bias=True, norm=nn.Identity())
    network[0].bias.data[:share] = bias
    return network, {"images": pixels(32)}


def optimised(network: nn.Module, chosen: Callable[[nn.Module], object], **options: float) -> Given:
    return network, {"optimizer": torch.optim.SGD(chosen(network), lr=0.1, **options)}


def two_optimisers(shared: bool) -> Given:
    network = Net()
    first = torch.optim.SGD(network.fc.parameters(), lr=0.1)
    rest = network.parameters() if shared else [*network.stem.parameters(), *network.block.parameters()]
    return network, {"optimizer": [first, torch.optim.SGD(rest, lr=0.1)]}


def of_a_copy(network: nn.Module, other: nn.Module) -> Given:
    return network, {"optimizer": torch.optim.SGD([*network.parameters(), *other.parameters()], lr=0.1)}


def without_decay() -> Given:
    network = Net()
    many = [p for p in network.parameters() if p.ndim > 1]
    few = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": many, "weight_decay": 0.1}, {"params": few, "weight_decay": 0.0}]
    return network, {"optimizer": torch.optim.SGD(groups, lr=0.1)}


def embedded(**changes: object) -> Backbone:
    backbone = load_backbone("embedded")
    backbone.preprocess = replace(backbone.preprocess, **changes)
    return backbone


def carded(count: int = 4) -> Tensor:
    backbone = load_backbone("embedded")
    grey = torch.randint(0, 256, (count, 3, 104, 104), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    return backbone.preprocess.normalise(grey)


EXAMPLES: dict[str, Example] = {
    "weights that are no numbers": Example(
        lambda: (with_weight(float("nan")), {}), "error", ("0.weight",), lambda: (with_weight(1.0), {})
    ),
    "half precision on the CPU": Example(
        lambda: (nn.Linear(4, 2).half(), {}), "warning", ("weight", "bias"), lambda: (nn.Linear(4, 2), {})
    ),
    "modules that the network does not know": Example(
        lambda: (Listed(plain=True), {}), "warning", ("layers",), lambda: (Listed(plain=False), {})
    ),
    "parameters that are not used": Example(
        lambda: (Unused(used=False), {}), "advice", ("extra",), lambda: (Unused(used=True), {})
    ),
    "train and eval mode mixed": Example(
        lambda: (mixed("norm"), {}), "error", ("0.1",), lambda: (conv_norm().eval(), {})
    ),
    "nothing trains": Example(
        lambda: (conv_norm().requires_grad_(False).train(), {}),
        "warning",
        (),
        lambda: (conv_norm().requires_grad_(False).eval(), {}),
    ),
    "bias before batch norm": Example(
        lambda: (conv_norm(bias=True), {}), "advice", ("0",), lambda: (conv_norm(bias=False), {})
    ),
    "frozen weights with live statistics": Example(
        lambda: (half_frozen(guarded=False), {}), "error", ("0.1",), lambda: (half_frozen(guarded=True), {})
    ),
    "batches too small for batch norm": Example(
        lambda: (conv_norm(), {"batch_size": 15}), "warning", ("1",), lambda: (conv_norm(), {"batch_size": 16})
    ),
    "old statistics outlive training": Example(
        # 0.9^28 = 0.0523, 0.9^29 = 0.0471
        lambda: (conv_norm(), {"steps": 28}),
        "warning",
        ("1",),
        lambda: (conv_norm(), {"steps": 29}),
    ),
    "momentum of another framework": Example(
        lambda: (conv_norm(norm=nn.BatchNorm2d(3, momentum=0.99)), {}),
        "warning",
        ("1",),
        lambda: (conv_norm(norm=nn.BatchNorm2d(3, momentum=0.01)), {}),
    ),
    "statistics never updated": Example(
        lambda: (trained(conv_norm(), statistics=False), {}), "error", ("1",), lambda: (trained(conv_norm()), {})
    ),
    "shared batch norm": Example(
        lambda: (Twice(shared=True), {}), "warning", ("norm",), lambda: (Twice(shared=False), {})
    ),
    "batch statistics in eval mode": Example(
        lambda: (conv_norm(norm=nn.BatchNorm2d(3, track_running_stats=False)), {}),
        "warning",
        ("1",),
        lambda: (conv_norm(), {}),
    ),
    "scales near zero": Example(
        lambda: (with_scales(1e-5, 1e-4, 1.0), {}), "warning", ("1",), lambda: (with_scales(0.1, 0.01, 1.0), {})
    ),
    "dropout before batch norm": Example(lambda: after_dropout(0.5), "warning", ("1",), lambda: after_dropout(0.0)),
    "dropout that never stops": Example(
        lambda: (Dropping(forgetful=True), {}),
        "error",
        ("the network itself",),
        lambda: (Dropping(forgetful=False).train(), {}),
    ),
    "last scale of a branch not zero": Example(
        lambda: (Net(), {}), "advice", ("block.norm",), lambda: (Net(block=Block(zero=True)), {})
    ),
    "no gradient past a residual block": Example(
        lambda: (Net(block=Block(cut=True)), {}), "error", ("block",), lambda: (Net(), {})
    ),
    "failing forward pass": Example(
        lambda: (Net(), {"images": pixels()[:, :1]}), "error", (), lambda: (Net(), {"images": pixels()})
    ),
    "dead ReLUs": Example(lambda: dead(-100.0), "error", ("2",), lambda: dead(0.0)),
    "head and classes differ": Example(
        lambda: (Net(classes=2), {"images": labelled(3)}),
        "error",
        ("fc",),
        lambda: (Net(classes=3), {"images": labelled(3)}),
    ),
    "softmax at the end": Example(
        lambda: (nn.Sequential(Net(), nn.Softmax(1)), {}),
        "warning",
        ("1",),
        lambda: (nn.Sequential(Net(), nn.LogSoftmax(1)), {}),
    ),
    "parameters in no optimiser": Example(
        lambda: optimised(Net(), lambda net: net.fc.parameters()),
        "error",
        ("stem.weight", "stem.bias", "block.conv.weight", "block.norm.weight", "block.norm.bias"),
        lambda: optimised(Net(), lambda net: net.parameters()),
    ),
    "parameters in two optimisers": Example(
        lambda: two_optimisers(shared=True),
        "warning",
        ("fc.weight", "fc.bias"),
        lambda: two_optimisers(shared=False),
    ),
    "parameters of another network": Example(
        lambda: of_a_copy(Net(), Net()), "warning", (), lambda: optimised(Net(), lambda net: net.parameters())
    ),
    "weight decay on batch norm": Example(
        lambda: optimised(Net(), lambda net: net.parameters(), weight_decay=1e-4),
        "advice",
        ("block.norm",),
        without_decay,
    ),
    "preprocessing differs from the row": Example(
        lambda: (embedded(mean=(0.5, 0.5, 0.5)), {}), "warning", (), lambda: (embedded(), {})
    ),
    "images do not fit the card": Example(
        lambda: (embedded(), {"images": carded() * 255}), "error", (), lambda: (embedded(), {"images": carded()})
    ),
}


def severities(diagnosis: Diagnosis, rule: str) -> dict[str, tuple[str, ...]]:
    return {finding.severity: finding.places for finding in diagnosis.findings if finding.name == rule}


def examine(given: Given) -> Diagnosis:
    model, options = given
    return doctor(model, **options)  # type: ignore[arg-type]


def test_every_rule_has_its_examples():
    files = {"file older than its format"}  # below
    assert set(EXAMPLES) | files == {rule.name for rule in RULES}


@pytest.mark.parametrize("rule", EXAMPLES)
def test_a_network_that_breaks_the_rule_is_found_with_its_place(rule: str):
    example = EXAMPLES[rule]
    found = severities(examine(example.broken()), rule)
    assert found == {example.severity: example.places}


@pytest.mark.parametrize("rule", EXAMPLES)
def test_one_that_does_not_break_it_passes(rule: str):
    diagnosis = examine(EXAMPLES[rule].sound())
    assert rule in diagnosis.passed, diagnosis


def resaved(classifier: Classifier, path: Path, drop: str) -> Path:
    """The classifier's file as if written before its card said something."""
    classifier.save(path)
    with safe_open(path, framework="pt") as file:
        card = json.loads(file.metadata()["headstart"])
    del card[drop]
    save_file(load_file(path), path, {"headstart": json.dumps(card)})
    return path


def test_a_file_from_before_the_card_said_unit_is_found(small_classifier, tmp_path: Path):
    path = resaved(small_classifier(), tmp_path / "old.safetensors", "unit")
    diagnosis = doctor(Classifier.load(path), file=path)
    (finding,) = [one for one in diagnosis.findings if one.name == "file older than its format"]
    assert finding.severity == "advice"
    assert "unit" in finding.found


def test_a_file_as_it_is_written_today_passes(small_classifier, tmp_path: Path):
    path = small_classifier().save(tmp_path / "new.safetensors")
    assert "file older than its format" in doctor(Classifier.load(path), file=path).passed
    (lack,) = [one for one in doctor(Classifier.load(path)).not_checked if one.rule == "file older than its format"]
    assert lack.reason == "needs the classifier file"


def test_a_classifier_whose_head_lost_a_class_is_an_error(small_classifier):
    model = small_classifier()
    head = model.head
    model.head = Head(head.kind, head.stages, head.weight[:, :2], head.bias[:2], head.temperature, head.unit)
    assert severities(doctor(model), "head and classes differ") == {"error": ()}
