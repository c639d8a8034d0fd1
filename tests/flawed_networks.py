"""Networks that break a best practice, and ones as like them as can be that do not, for tests of the rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.backbones.backbone import Backbone, load_backbone
from headstart.best_practices.diagnosis import Diagnosis
from headstart.best_practices.doctor import doctor
from headstart.best_practices.rule import Rule
from headstart.freezing import freeze
from headstart.inspection.inspected_images import InspectedImages

Given = tuple[object, dict[str, object]]


@dataclass(frozen=True)
class Example:
    """A model with what is handed in, that breaks a rule with a severity at places; and one that does not."""

    broken: Callable[[], Given]
    severity: str
    places: tuple[str, ...]
    sound: Callable[[], Given]


class RuleExamples:
    """Tests of a file of rules by its examples; `rule` goes through them, see `best_practices/conftest.py`."""

    file: ModuleType
    examples: dict[str, Example]
    elsewhere: frozenset[str] = frozenset()  # rules whose tests stand apart

    def test_every_rule_of_the_file_has_its_examples(self) -> None:
        assert rule_names(self.file) == set(self.examples) | self.elsewhere

    def test_a_network_that_breaks_the_rule_is_found_with_its_place(self, rule: str) -> None:
        example = self.examples[rule]
        found = severities(examine(example.broken()), rule)
        assert found == {example.severity: example.places}

    def test_one_that_does_not_break_it_passes(self, rule: str) -> None:
        diagnosis = examine(self.examples[rule].sound())
        assert rule in diagnosis.passed, diagnosis


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


def severities(diagnosis: Diagnosis, rule: str) -> dict[str, tuple[str, ...]]:
    return {finding.severity: finding.places for finding in diagnosis.findings if finding.name == rule}


def examine(given: Given) -> Diagnosis:
    model, options = given
    return doctor(model, **options)  # type: ignore[arg-type]


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Seeded normal numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def findings(diagnosis: Diagnosis, rule: str) -> dict[str, str]:
    """Severity → what was found."""
    return {finding.severity: finding.found for finding in diagnosis.findings if finding.name == rule}


def small(**options: object) -> nn.Sequential:
    """Convolution, batch norm with these options, ReLU."""
    return nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4, **options), nn.ReLU())  # type: ignore[arg-type]


def rule_names(file: ModuleType) -> set[str]:
    """Names of the rules in a source file."""
    return {value.name for value in vars(file).values() if isinstance(value, Rule)}
