"""The doctor as a whole: what is not checked is said, nothing is left behind, no row of the catalogue is ill."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn

from headstart.backbones.backbone import build_backbone, load_backbone
from headstart.backbones.catalogue import SPECS, BackboneSpec
from headstart.best_practices.doctor import doctor
from headstart.best_practices.rule import SEVERITIES
from headstart.best_practices.rules import RULES, table
from headstart.errors import BackboneError, DataError, RecipeError
from headstart.preserve import RandomState

DOCS = Path(__file__).parents[2] / "docs" / "doctor.md"
SLOW = {"alexnet", "resnet34", "resnet50", "inception_v3", "convnext_tiny", "vit_b_16"}
NEEDED = {"images": "images", "optimizer": "the optimiser", "batch_size": "the batch size"}


class Caching(nn.Module):
    """Leaves much behind: a table made once, a growing list, a counter, chance; one batch norm has two names."""

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


def test_every_rule_is_in_exactly_one_list_and_what_lacks_its_input_has_not_passed():
    diagnosis = doctor(torchvision.models.resnet18(weights=None))
    unchecked = {one.rule: one.reason for one in diagnosis.not_checked}
    lists = [
        {finding.name for finding in diagnosis.findings},
        set(diagnosis.passed),
        set(unchecked),
        {one.rule for one in diagnosis.not_concerned},
    ]
    assert sum(map(len, lists)) == len(set().union(*lists)) == len(RULES)
    for rule in RULES:
        for need, word in NEEDED.items():
            assert need not in rule.needs or unchecked[rule.name] == f"needs {word}"


def test_a_network_of_shapes_alone_has_its_values_listed_as_lacking():
    with torch.device("meta"):
        network = torchvision.models.resnet18(weights=None)
    unchecked = {one.rule: one.reason for one in doctor(network).not_checked}
    for rule in ("weights that are no numbers", "statistics never updated", "scales near zero"):
        assert unchecked[rule] == "needs weights with values: this network has shapes only"


def test_a_network_that_runs_on_nothing_is_still_examined():
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(2, 2)

        def forward(self, one: Tensor, other: Tensor) -> Tensor:
            return self.fc(one + other)

    diagnosis = doctor(Pair())
    assert "weights that are no numbers" in diagnosis.passed
    (lack,) = [one for one in diagnosis.not_checked if one.rule == "dropout that never stops"]
    assert "missing 1 required positional argument: 'other'" in lack.reason


def test_layers_that_have_no_shape_yet_are_refused():
    with pytest.raises(BackboneError, match="Run it once"):
        doctor(nn.Sequential(nn.LazyLinear(3)))


def test_numbers_below_one_and_images_of_another_kind_are_refused():
    with pytest.raises(RecipeError, match="batch_size"):
        doctor(nn.Linear(2, 2), batch_size=0)
    with pytest.raises(DataError):
        doctor(nn.Linear(2, 2), images=torch.zeros(3, 8, 8))


def test_the_diagnosis_is_plain_values_and_text_with_the_worst_first():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, momentum=0.99), nn.ReLU())
    network[0].weight.data[0] = float("inf")
    diagnosis = doctor(network)
    kinds = [finding.severity for finding in diagnosis.findings]
    assert diagnosis.worst == "error"
    assert kinds == sorted(kinds, key=SEVERITIES.index)
    values = json.loads(json.dumps(diagnosis.to_dict(), allow_nan=False))
    assert values["findings"][0]["place"] == "0.weight"
    text = str(diagnosis)
    assert text.startswith("Sequential: 1 error, 1 warning, 2 advice; ")
    assert "error: weights that are no numbers at 0.weight\n  found: tensors with nan or infinity: 1" in text
    assert "needs the optimiser: parameters in no optimiser" in text
    assert max(map(len, text.splitlines())) <= 110


def test_nothing_found_is_an_empty_worst():
    diagnosis = doctor(nn.Linear(3, 2))
    assert diagnosis.worst == ""
    assert diagnosis.findings == ()
    assert "nothing found" in diagnosis.summary


@pytest.mark.parametrize("row", SPECS.values(), ids=lambda row: row.name)
def test_no_row_of_the_catalogue_breaks_a_rule_by_its_build(row: BackboneSpec):
    with torch.device("meta"):
        backbone = build_backbone(row)
    diagnosis = doctor(backbone)
    assert diagnosis.findings == ()
    assert {"parameters that are not used", "dropout that never stops", "softmax at the end"} & set(diagnosis.passed)


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, marks=pytest.mark.slow if row.name in SLOW else (), id=row.name) for row in SPECS.values()],
)
def test_no_row_with_drawn_weights_has_an_error(row: BackboneSpec):
    backbone = build_backbone(row)
    images = torch.randn(2, 3, row.crop, row.crop, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
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
        ("googlenet", {"parameters that are not used"}),
    ],
)
def test_networks_of_torchvision_raise_no_false_alarm(name: str, expected: set[str]):
    options = {"init_weights": False} if name == "googlenet" else {}
    with torch.device("meta"):
        network = torchvision.models.get_model(name, weights=None, **options)
    diagnosis = doctor(network)
    assert {finding.name for finding in diagnosis.findings} == expected
    assert diagnosis.worst in ("", "advice")


@pytest.mark.parametrize("name", ["nf_resnet26", "resnet10t", "vit_tiny_patch16_224", "convnext_atto", "mixer_s32_224"])
def test_networks_of_timm_raise_no_false_alarm(name: str):
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        network = timm.create_model(name, pretrained=False)
    assert doctor(network).findings == ()


def test_the_documentation_has_the_rules_as_they_are():
    assert table() in DOCS.read_text(encoding="utf-8")
