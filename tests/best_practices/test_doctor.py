"""The doctor as a whole: what is not checked, what is restored, and no findings in the backbones of the catalogue."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn

from headstart.backbones.backbone import build_backbone, load_backbone
from headstart.backbones.catalogue import SPECS, BackboneSpec
from headstart.best_practices.doctor import MOST_ISSUES, doctor
from headstart.best_practices.examination import Examination
from headstart.best_practices.rule import Issue, Rule
from headstart.best_practices.rules import own_rules
from headstart.errors import BackboneError, DataError, RecipeError
from headstart.preserve import RandomState

SLOW = {"alexnet", "resnet34", "resnet50", "inception_v3", "convnext_tiny", "vit_b_16"}
NEEDED = {"images": "images", "optimizer": "the optimiser", "batch_size": "the batch size"}


class Caching(nn.Module):
    """Changes much in a forward pass: a table, a list, a counter, random numbers; one batch norm has two names."""

    def __init__(self, failing: bool = False) -> None:
        super().__init__()
        self.conv, self.norm, self.drop = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Dropout(0.5)
        self.again, self.failing, self.seen = self.norm, failing, []
        self.table: Tensor | None = None
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.table is None:
            self.table = torch.ones(3, 1, 1, device=x.device)
        self.seen.append(len(x))
        self.count += 1
        x = self.again(self.drop(self.norm(self.conv(x)))) * self.table
        if self.failing:
            raise ValueError("in the middle")
        return x + torch.rand(1, device=x.device)


@pytest.mark.parametrize("failing", [False, True])
def test_the_doctor_leaves_no_trace(failing: bool):
    network = Caching(failing).train()
    network.norm.eval()
    network.conv.bias.requires_grad_(False)
    network.conv.weight.grad = torch.ones_like(network.conv.weight)
    optimizer = torch.optim.Adam([network.conv.weight, network.norm.weight, network.norm.bias], lr=0.1)
    state = {name: (value, value.clone()) for name, value in network.state_dict(keep_vars=True).items()}
    attributes = {path: dict(vars(module)) for path, module in network.named_modules()}
    grad, chance, held = network.conv.weight.grad, RandomState.now(), json.dumps(optimizer.state_dict())

    doctor(network, images=torch.randn(33, 3, 8, 8, generator=torch.Generator()), optimizer=optimizer, batch_size=4)

    for name, value in network.state_dict(keep_vars=True).items():
        assert value is state[name][0]
        assert torch.equal(value, state[name][1]), name
    assert {path: dict(vars(module)) for path, module in network.named_modules()} == attributes
    assert network.table is None
    assert network.seen == []
    assert network.conv.weight.grad is grad
    assert bool((grad == 1).all())
    assert not network.conv.bias.requires_grad
    assert [m.training for m in network.modules()] == [True, True, False, True]
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
    assert torch.equal(RandomState.now().cpu, chance.cpu)
    assert json.dumps(optimizer.state_dict()) == held


@pytest.mark.slow
def test_every_rule_is_in_exactly_one_list_and_one_without_its_input_has_not_passed():
    diagnosis = doctor(torchvision.models.resnet18(weights=None))
    unchecked = {one.rule: one.reason for one in diagnosis.not_checked}
    lists = [
        {finding.name for finding in diagnosis.findings},
        set(diagnosis.passed),
        set(unchecked),
        {one.rule for one in diagnosis.not_applicable},
    ]
    assert sum(map(len, lists)) == len(set().union(*lists)) == len(own_rules())
    for rule in own_rules():
        for need, word in NEEDED.items():
            assert need not in rule.needs or unchecked[rule.name] == f"needs {word}"


def test_a_network_without_values_has_these_listed_as_missing():
    with torch.device("meta"):
        network = torchvision.models.resnet18(weights=None)
    unchecked = {one.rule: one.reason for one in doctor(network).not_checked}
    for rule in ("non-finite weights", "statistics never updated", "scales near zero"):
        assert unchecked[rule] == "needs weights with values: this network has shapes only"


def test_a_network_that_runs_on_no_known_input_is_still_examined():
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(2, 2)

        def forward(self, one: Tensor, other: Tensor) -> Tensor:
            return self.fc(one + other)

    diagnosis = doctor(Pair())
    assert "non-finite weights" in diagnosis.passed
    (lack,) = [one for one in diagnosis.not_checked if one.rule == "dropout in eval mode"]
    assert "missing 1 required positional argument: 'other'" in lack.reason


def test_layers_that_have_no_shape_yet_are_refused():
    with pytest.raises(BackboneError, match="Run it once"):
        doctor(nn.Sequential(nn.LazyLinear(3)))


def test_weights_without_numbers_are_refused():
    with pytest.raises(BackboneError, match=r"2 on the device meta, such as weight.*to_empty"):
        doctor(nn.Linear(2, 2, device="meta"), batch=(torch.zeros(3, 2), torch.zeros(3, dtype=torch.long)))


def test_numbers_below_one_and_images_of_another_kind_are_refused():
    with pytest.raises(RecipeError, match="batch_size"):
        doctor(nn.Linear(2, 2), batch_size=0)
    with pytest.raises(DataError):
        doctor(nn.Linear(2, 2), images=torch.zeros(3, 8, 8))


@pytest.mark.slow
@pytest.mark.parametrize("spec", SPECS.values(), ids=lambda spec: spec.name)
def test_no_backbone_of_the_catalogue_breaks_a_rule_by_its_build(spec: BackboneSpec):
    with torch.device("meta"):
        backbone = build_backbone(spec)
    diagnosis = doctor(backbone)
    assert diagnosis.findings == ()
    assert {"unused parameters", "dropout in eval mode", "softmax as output"} & set(diagnosis.passed)


@pytest.mark.parametrize(
    "spec",
    [pytest.param(spec, marks=pytest.mark.slow if spec.name in SLOW else (), id=spec.name) for spec in SPECS.values()],
)
@pytest.mark.slow
def test_no_backbone_with_random_weights_has_an_error(spec: BackboneSpec):
    backbone = build_backbone(spec)
    images = torch.randn(2, 3, spec.crop, spec.crop, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    diagnosis = doctor(backbone, images=images)
    assert diagnosis.worst in ("", "advice"), diagnosis
    assert "failing forward pass" in diagnosis.passed


WEIGHTS = {
    "resnet18": "resnet18_imagenet",
    "squeezenet1_0": "squeezenet1_0_imagenet",
    "mobilenet_v2_035": "mobilenet_v2_035_imagenet_features",
    "cifar_resnet20": "cifar10_resnet20",
    "cifar_resnet56": "cifar10_resnet56",
}


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.slow
def test_real_weights_have_nothing_worse_than_advice_on_a_few_dead_channels(name: str, test_data: Path):
    file = test_data / "weights" / f"{WEIGHTS[name]}.safetensors"
    backbone = load_backbone(name, weights=str(file), offline=True)
    dead = {
        path
        for path, module in backbone.network.named_modules()
        if isinstance(module, nn.BatchNorm2d)
        and sum(abs(g) < 1e-3 for g in module.weight.tolist()) > 0.05 * len(module.weight)
    }
    diagnosis = doctor(backbone, batch_size=32, steps=100)
    assert {place for finding in diagnosis.findings for place in finding.places} == dead
    assert diagnosis.worst == ("advice" if dead else "")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("densenet121", set()),
        ("mnasnet0_5", set()),
        ("shufflenet_v2_x0_5", set()),
        ("swin_t", set()),
        ("vgg11_bn", {"bias before batch norm"}),
        ("googlenet", {"unused parameters"}),
    ],
)
@pytest.mark.slow
def test_networks_of_torchvision_raise_no_false_alarm(name: str, expected: set[str]):
    options = {"init_weights": False} if name == "googlenet" else {}
    with torch.device("meta"):
        network = torchvision.models.get_model(name, weights=None, **options)
    diagnosis = doctor(network)
    assert {finding.name for finding in diagnosis.findings} == expected
    assert diagnosis.worst in ("", "advice")


@pytest.mark.parametrize("name", ["nf_resnet26", "resnet10t", "vit_tiny_patch16_224", "convnext_atto", "mixer_s32_224"])
@pytest.mark.slow
def test_networks_of_timm_raise_no_false_alarm(name: str):
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        network = timm.create_model(name, pretrained=False)
    assert doctor(network).findings == ()


class Stranger(nn.Module):
    """A network that a rule from outside may change."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x)


def rule_of(check: Callable[[Examination], object], name: str = "own rule", **options: object) -> Rule:
    return Rule(name=name, severities=("advice",), why="because", fix="do", check=check, **options)  # type: ignore[arg-type]


def one_issue(examination: Examination) -> Iterator[Issue]:
    yield Issue(("fc",), "found it")


def test_a_rule_from_outside_is_checked_with_its_reason_and_fix():
    diagnosis = doctor(Stranger(), rules=[rule_of(one_issue), "non-finite weights"])
    (finding,) = diagnosis.findings
    assert (finding.name, finding.severity, finding.place) == ("own rule", "advice", "fc")
    assert (finding.why, finding.fix) == ("because", "do")
    assert diagnosis.passed == ("non-finite weights",)


def failing(examination: Examination) -> Iterator[Issue]:
    yield Issue(("fc",), "before it failed")
    raise ZeroDivisionError("in the middle")


@pytest.mark.parametrize(
    ("check", "reason"),
    [
        (failing, "the rule of the script that registers it failed with ZeroDivisionError: in the middle"),
        (lambda examination: ["text"], "failed with TypeError: expected an Issue, got str"),
        (lambda examination: [Issue("fc", "a string")], "expected places as a tuple of strings, got 'fc'"),
        (lambda examination: [Issue((), "x", "fatal")], "expected a severity of error, warning, advice, got 'fatal'"),
        (lambda examination: 3, "'int' object is not iterable"),
        (lambda examination: [Issue((), None)], "expected found as a text, got NoneType"),
        (lambda examination: sys.exit(3), "it called sys.exit(3)"),
    ],
)
def test_a_rule_from_outside_that_fails_is_not_checked_and_stops_nothing(check, reason: str):
    diagnosis = doctor(Stranger(), rules=[rule_of(check), "non-finite weights"])
    (unchecked,) = diagnosis.not_checked
    assert unchecked.rule == "own rule"
    assert reason in unchecked.reason
    assert diagnosis.passed == ("non-finite weights",)
    assert [finding.found for finding in diagnosis.findings] == ["before it failed"] * (check is failing)


def test_a_rule_without_issues_passes_also_when_it_returns_nothing():
    assert doctor(Stranger(), rules=rule_of(lambda examination: None)).passed == ("own rule",)


def test_a_rule_that_never_ends_yields_a_bounded_number_of_issues():
    diagnosis = doctor(Stranger(), rules=rule_of(lambda examination: itertools.repeat(Issue((), "again"))))
    assert len(diagnosis.findings) == MOST_ISSUES


def test_settings_of_torch_that_a_rule_from_outside_changes_are_restored():
    def careless(examination: Examination) -> None:
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)

    doctor(Stranger(), rules=rule_of(careless))
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()


def test_a_rule_without_its_input_or_its_modules_is_not_run():
    needy = rule_of(failing, "needy", needs=("steps",))
    absent = rule_of(failing, "absent", only_with=(nn.Conv2d,))
    diagnosis = doctor(Stranger(), rules=[needy, absent])
    assert [(one.rule, one.reason) for one in diagnosis.not_checked] == [("needy", "needs the number of steps")]
    assert [(one.rule, one.reason) for one in diagnosis.not_applicable] == [("absent", "no Conv2d")]


def test_weights_that_a_rule_from_outside_changes_are_restored():
    def careless(examination: Examination) -> None:
        with torch.no_grad():
            examination.network.fc.weight.zero_()

    network = Stranger()
    before = network.fc.weight.clone()
    assert doctor(network, rules=rule_of(careless)).passed == ("own rule",)
    torch.testing.assert_close(network.fc.weight, before)


def test_unknown_rules_are_refused():
    with pytest.raises(RecipeError, match=r"known rule.*Did you mean dead ReLUs"):
        doctor(Stranger(), rules="dead ReLU")
    with pytest.raises(RecipeError, match="register_rule"):
        doctor(Stranger(), rules=[one_issue])  # type: ignore[list-item]
