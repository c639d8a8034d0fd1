"""How bad a finding is, and the numbers that it is told by; cases that look like a fault and are none."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.backbones.backbone import load_backbone
from headstart.best_practices.diagnosis import Diagnosis
from headstart.best_practices.doctor import doctor
from headstart.freezing import freeze
from headstart.inspection.inspected_images import InspectedImages


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def found(diagnosis: Diagnosis, rule: str) -> dict[str, str]:
    """Severity → what was found."""
    return {finding.severity: finding.found for finding in diagnosis.findings if finding.name == rule}


def small(**options: object) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4, **options), nn.ReLU())  # type: ignore[arg-type]


@pytest.mark.parametrize(("mean", "keep"), [(0.5, 0.5), (1.0, 0.8), (0.0, 0.5)])
def test_the_variance_shift_behind_dropout_is_that_of_the_formula(mean: float, keep: float):
    network = nn.Sequential(nn.Dropout(1 - keep), nn.BatchNorm2d(3))
    text = found(doctor(network, images=noise(16, 3, 48, 48) + mean), "dropout before batch norm")["warning"]
    expected = 1 / ((mean**2 + 1) / keep - mean**2)  # Li et al. 2018: v / ((c² + v)/p - c²)
    assert float(text.split(" is ")[1].split()[0]) == pytest.approx(expected, abs=0.011)  # told with two decimals


def test_dropout_that_batch_norm_does_not_meet_is_no_fault():
    behind = nn.Sequential(small(), nn.Dropout(0.5), nn.Conv2d(4, 2, 1))
    settled = nn.Sequential(nn.Dropout(0.0), small())
    assert "dropout before batch norm" in doctor(behind).passed
    assert "dropout before batch norm" not in {one.name for one in doctor(settled).findings}


def test_without_a_momentum_the_past_weighs_as_many_batches_as_it_had():
    network = small(momentum=None)
    network[1].num_batches_tracked.fill_(300)
    assert "keep 75.0%" in found(doctor(network, steps=100), "old statistics outlive training")["warning"]


def test_statistics_that_stay_in_eval_mode_are_no_matter_of_batches_or_steps():
    network = nn.Sequential(small(), nn.Conv2d(4, 2, 1))
    freeze(network, until="1")
    diagnosis = doctor(network, batch_size=2, steps=1)
    assert {"batches too small for batch norm", "old statistics outlive training"} <= set(diagnosis.passed)


def test_one_value_for_each_channel_is_an_error_as_in_torch_itself():
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(3))
    assert list(found(doctor(network, batch_size=1), "batches too small for batch norm")) == ["error"]
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        network.train()(torch.zeros(1, 3, 8, 8))
    assert list(found(doctor(network, batch_size=2), "batches too small for batch norm")) == ["warning"]


def test_statistics_as_they_begin_are_worse_the_more_was_trained(small_classifier):
    rule = "statistics never updated"
    new_head = nn.Sequential(small(), nn.BatchNorm2d(4))
    new_head[0][1].running_mean.fill_(0.3)
    new_head[0][1].bias.data.fill_(0.3)
    assert list(found(doctor(new_head), rule)) == ["advice"]
    assert list(found(doctor(small(affine=False)), rule)) == ["warning"]
    classifier = small_classifier()
    norm = next(m for m in classifier.backbone.network.modules() if isinstance(m, nn.BatchNorm2d))
    norm.reset_running_stats()
    assert list(found(doctor(classifier), rule)) == ["error"]


def test_the_counter_of_batches_is_not_asked_whether_statistics_were_updated():
    moved, counted = small(), small()
    moved[1].running_var.fill_(2.0)  # weights of old files come without a counter
    counted[1].num_batches_tracked.fill_(1000)
    assert "statistics never updated" in doctor(moved).passed
    assert found(doctor(counted), "statistics never updated")


class Auxiliary(nn.Module):
    """A batch norm that runs while training only."""

    def __init__(self) -> None:
        super().__init__()
        self.main, self.extra = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.extra(self.main(x)) if self.training else self.main(x)


def test_an_auxiliary_branch_needs_no_statistics_in_eval_mode():
    assert "statistics never updated" in doctor(Auxiliary()).passed


def test_frozen_weights_that_will_drift_at_the_next_train_are_a_warning():
    network = nn.Sequential(small().requires_grad_(False), nn.Conv2d(4, 2, 1)).eval()
    assert list(found(doctor(network), "frozen weights with live statistics")) == ["warning"]
    assert "frozen weights with live statistics" in doctor(network.requires_grad_(False)).passed  # for features only


def test_modes_that_differ_are_judged_by_what_they_do():
    rule = "train and eval mode mixed"
    chance = nn.Sequential(small(), nn.Dropout(0.5)).eval()
    chance[1].train()
    assert list(found(doctor(chance), rule)) == ["warning"]
    settled = nn.Sequential(small()).train()
    settled[0][1].eval()
    assert list(found(doctor(settled), rule)) == ["advice"]
    frozen = nn.Sequential(small(), nn.Conv2d(4, 2, 1))
    freeze(frozen, until="1")
    assert rule in doctor(frozen.train()).passed


def test_an_optimiser_for_nothing_is_an_error():
    network = small()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    diagnosis = doctor(network.requires_grad_(False), optimizer=optimizer)
    assert list(found(diagnosis, "nothing trains")) == ["error"]


def test_an_optimiser_of_a_copy_is_an_error():
    optimizer = torch.optim.SGD(small().parameters(), lr=0.1)
    diagnosis = doctor(small(), optimizer=optimizer)
    assert list(found(diagnosis, "parameters of another network")) == ["error"]
    assert list(found(diagnosis, "parameters in no optimiser")) == ["error"]


@pytest.mark.parametrize(("dead", "severity"), [(0, None), (1, "advice"), (2, "advice"), (3, "warning"), (4, "error")])
def test_dead_relus_are_counted(dead: int, severity: str | None):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    network[0].bias.data[:dead] = -100.0
    told = found(doctor(network, images=noise(40, 3, 8, 8)), "dead ReLUs")
    assert list(told) == ([severity] if severity else [])
    assert all(f"up to {dead / 4:.0%} " in text for text in told.values())


class Rows(nn.Module):
    """Images as rows of pixels N×3×L through some layers."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x.flatten(2))


class Tokens(nn.Module):
    """N×C×L to tokens N×L×C."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


@pytest.mark.parametrize(
    "layers",
    [
        lambda dead: [dead(nn.Conv1d(3, 5, 3))],
        lambda dead: [dead(nn.Conv1d(3, 5, 3)), nn.MaxPool1d(2)],
        lambda dead: [nn.Conv1d(3, 5, 3), dead(nn.BatchNorm1d(5))],
        lambda dead: [nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4), Tokens(), dead(nn.Linear(4, 5))],
        lambda dead: [dead(nn.Conv1d(3, 5, 3)), Tokens()],
    ],
)
def test_channels_of_rows_and_of_tokens_are_looked_at_along_their_own_axis(layers: Callable[..., list[nn.Module]]):
    def dead(layer: nn.Module) -> nn.Module:
        layer.bias.data[:4] = -100.0  # type: ignore[operator, union-attr]
        return layer

    told = found(doctor(Rows(*layers(dead), nn.ReLU()), images=noise(40, 3, 8, 8)), "dead ReLUs")
    assert list(told) == ["warning"]
    assert "up to 80% " in told["warning"]


def test_a_few_images_say_nothing_of_dead_relus():
    (lack,) = [one for one in doctor(small(), images=noise(31, 3, 8, 8)).not_checked if one.rule == "dead ReLUs"]
    assert lack.reason == "needs 32 images or more (there are 31)"


class Through(nn.Module):
    """Rounded forward, straight through backward: x + (round(w x) - x).detach(). No shortcut is cut."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + (torch.round(self.conv(x)) - x).detach()


class Dying(nn.Module):
    """A residual sum with nothing alive behind it, and an in-place ReLU that writes into the sum."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 3, 1), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(x + self.conv(x)) * 0


def test_a_detached_branch_is_no_cut_shortcut_and_a_dead_end_is_a_warning():
    rule = "no gradient past a residual block"
    assert rule in doctor(Through()).passed
    assert list(found(doctor(Dying()), rule)) == ["warning"]


class Cut(nn.Module):
    """A shortcut that lets no gradient through."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x.detach() + self.conv(x)


def test_a_cut_shortcut_is_found_where_gradients_cannot_be_measured():
    with torch.device("meta"):
        network = Cut()
    diagnosis = doctor(network)
    assert list(found(diagnosis, "no gradient past a residual block")) == ["error"]
    assert "no gradient past a residual block" not in {one.rule for one in diagnosis.not_checked}


def test_a_head_that_begins_at_zero_is_no_dead_end():
    network = torchvision.models.resnet18(weights=None)
    nn.init.zeros_(network.fc.weight)
    reasons = {one.rule: one.reason for one in doctor(network).not_checked}
    assert "not all zero" in reasons["no gradient past a residual block"]


class Standardised(nn.Conv2d):
    """A convolution that normalises its weights by a functional batch norm, as NFNets do."""

    def forward(self, x: Tensor) -> Tensor:
        weight = F.batch_norm(self.weight.reshape(1, self.out_channels, -1), None, None, training=True)
        return F.conv2d(x, weight.reshape_as(self.weight), self.bias)


def test_weights_normalised_by_batch_norm_do_not_depend_on_the_batch():
    assert "batch statistics in eval mode" in doctor(Standardised(3, 4, 3)).passed


def labelled(classes: int) -> InspectedImages:
    return InspectedImages(noise(2, 3, 8, 8), ("a", "b"), labels=torch.zeros(2).long(), classes=tuple("xyz"[:classes]))


@pytest.mark.parametrize(("width", "classes", "kinds"), [(1000, 3, ["warning"]), (1, 2, []), (1, 3, ["error"])])
def test_more_answers_than_classes_are_a_warning_and_one_is_enough_for_two(width: int, classes: int, kinds: list[str]):
    network = nn.Sequential(nn.Conv2d(3, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, width))
    assert list(found(doctor(network, images=labelled(classes)), "head and classes differ")) == kinds


def test_the_top_of_a_backbone_is_not_its_head():
    backbone = load_backbone("embedded")
    reasons = {one.rule: one.reason for one in doctor(backbone).not_concerned}
    assert reasons["head and classes differ"] == "no head: training gives a backbone one"


def test_images_that_were_not_normalised_and_of_another_side_are_told():
    told = found(doctor(load_backbone("embedded"), images=torch.rand(4, 3, 104, 104)), "images do not fit the card")
    assert "not normalised" in told["warning"]
    sides = found(doctor(load_backbone("embedded"), images=noise(4, 3, 64, 64) / 4), "images do not fit the card")
    assert "64×64 px; the card says 104" in sides["warning"]


def test_a_module_that_carries_a_card_of_timm_is_held_against_it():
    network = small()
    network.pretrained_cfg = {"input_size": (3, 64, 64), "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
    told = found(doctor(network, images=noise(2, 3, 64, 64).abs() * 100), "images do not fit the card")
    assert list(told) == ["error"]
    reasons = {one.rule: one.reason for one in doctor(small(), images=noise(2, 3, 8, 8)).not_checked}
    assert "needs a card" in reasons["images do not fit the card"]


def test_answers_that_are_no_numbers_are_an_error():
    class Root(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean((1, 2, 3), keepdim=True).sqrt()

    told = found(doctor(Root(), images=noise(4, 3, 2, 2) - 3), "failing forward pass")
    assert told == {"error": "nan or infinity in the answers to 4 of 4 images"}


def test_a_finished_classifier_has_no_layer_as_it_begins(small_classifier):
    classifier = small_classifier()
    norm = next(m for m in classifier.backbone.network.modules() if isinstance(m, nn.BatchNorm2d))
    norm.reset_parameters()  # in a Backbone this is advice: a new layer
    assert list(found(doctor(classifier), "statistics never updated")) == ["error"]
    assert list(found(doctor(classifier.backbone), "statistics never updated")) == ["advice"]


class Elsewhere(nn.Module):
    """A convolution with a bias that batch norm takes away, and that is of use elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.norm(x) * x


def test_a_bias_that_something_else_reads_too_is_of_use():
    assert "bias before batch norm" in doctor(Elsewhere()).passed


def test_the_shift_is_told_where_dropout_meets_batch_norm_and_not_at_every_later_one():
    network = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm2d(3), nn.BatchNorm2d(3))
    (finding,) = [one for one in doctor(network).findings if one.name == "dropout before batch norm"]
    assert finding.places == ("1",)


def test_a_variance_below_zero_is_no_number():
    network = small()
    network[1].running_var[2] = -0.1
    told = found(doctor(network), "weights that are no numbers")
    assert told == {"error": "batch norms with a running variance below zero: 1"}


class Extractor(nn.Module):
    """Blocks that are frozen on purpose, by no_grad in forward, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x = x + self.conv(x)
        return self.head(x)


def test_a_part_that_runs_without_gradients_on_purpose_is_no_cut_shortcut():
    assert "no gradient past a residual block" in doctor(Extractor()).passed
